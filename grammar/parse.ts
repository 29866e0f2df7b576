/** Text to tree. Never throws: what cannot be read is reported and skipped, the rest of the tree stands. */
import { Lexer, type ILexingResult, type IToken } from "chevrotain";
import type { Module } from "./ast.ts";
import type { Diagnostic } from "./diagnostic.ts";
import { substituteFor } from "./messages.ts";
import { MoeParser } from "./parser/index.ts";
import type { SourceFile } from "./span.ts";
import { allTokens } from "./tokens.ts";

// Lexer and parser are made once, at the first use: analysing the grammar is the costly part, and both are reusable.
let lexer: Lexer | null = null;
let parser: MoeParser | null = null;

/** Parses a whole file. With errors among the diagnostics the tree holds what could be read. */
export function parse(file: SourceFile): { module: Module; diagnostics: readonly Diagnostic[] } {
  const lexed = tokenize(file.text);
  parser ??= new MoeParser();
  const module = parseTokens(parser, file, lexed);
  const diagnostics = [...describeLexing(file, lexed), ...parser.diagnostics];
  // In reading order, whichever stage found them.
  return { module, diagnostics: diagnostics.sort((a, b) => a.labels[0]!.span.start - b.labels[0]!.span.start) };
}

/** The one thing a recursive parser cannot report from within: that its stack is full. */
function parseTokens(parser: MoeParser, file: SourceFile, lexed: ILexingResult): Module {
  try {
    return parser.parse({ file, tokens: lexed.tokens, docs: attachDocs(lexed) });
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    const span = { file, start: 0, end: file.text.length };
    const labels = [{ span: { ...span, end: 0 }, text: "" }];
    const message = "this file nests too deeply";
    parser.diagnostics = [{ code: "syntax/too-deep", severity: "error", message, labels, notes: [], help: null }];
    return { kind: "module", edition: null, imports: [], items: [], span };
  }
}

/** Tokens, with comments and doc comments in `groups`. */
export function tokenize(text: string): ILexingResult {
  lexer ??= new Lexer(allTokens, { skipValidations: true, ensureOptimizations: true, positionTracking: "full" });
  return lexer.tokenize(text);
}

/** Doc comments by the offset of the token that follows them. */
function attachDocs({ tokens, groups }: ILexingResult): Map<number, string> {
  const attached = new Map<number, string>();
  let next = 0;
  for (const doc of groups["docs"] ?? []) {
    while (next < tokens.length && tokens[next]!.startOffset < doc.startOffset) next++;
    if (next === tokens.length) break;
    const { startOffset } = tokens[next]!;
    const before = attached.get(startOffset);
    attached.set(startOffset, before === undefined ? docText(doc) : `${before}\n${docText(doc)}`);
  }
  return attached;
}

const docText = (doc: IToken): string => doc.image.replace(/^\/\/\/ ?/, "").trimEnd();

function describeLexing(file: SourceFile, { errors }: ILexingResult): Diagnostic[] {
  return errors.map(({ offset, length }) => {
    const characters = file.text.slice(offset, offset + length);
    return {
      code: "syntax/unknown-character",
      severity: "error",
      message: `\`${characters}\` does not belong to the language`,
      labels: [{ span: { file, start: offset, end: offset + length }, text: "" }],
      notes: [],
      help: substituteFor(characters[0] ?? ""),
    };
  });
}
