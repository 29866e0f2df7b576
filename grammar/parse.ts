/** Text to tree. Never throws: what cannot be read is reported and skipped, the rest of the tree stands. */
import { Lexer, type ILexingResult, type IToken } from "chevrotain";
import type { Expr, Module } from "./ast.ts";
import { type Damage, damageOfCharacters, NO_DAMAGE } from "./damage.ts";
import type { Diagnostic } from "./diagnostic.ts";
import { LIMITS } from "./limits.ts";
import { substituteFor } from "./messages.ts";
import { checkOption, needed, sourceFile } from "./option.ts";
import { MoeParser } from "./parser/index.ts";
import type { SourceFile } from "./span.ts";
import { allTokens } from "./tokens.ts";
import { children, type Node } from "./visit.ts";

// Lexer and parser are made once, at the first use: analysing the grammar is the costly part, and both are reusable.
let lexer: Lexer | null = null;
let parser: MoeParser | null = null;

export interface ParsedFile {
  readonly module: Module;
  readonly diagnostics: readonly Diagnostic[];
  readonly damage: Damage;
}

/** Parses a whole file. With errors among the diagnostics the tree holds what could be read. Throws `option/*`. */
export function parse(file: SourceFile): ParsedFile {
  checkOption("parse", "file", file, needed(sourceFile));
  if (file.text.length > LIMITS.text) return refuse(file, "syntax/too-long", describeLength(file), 0);
  const lexed = tokenize(file.text);
  parser ??= new MoeParser();
  const module = parseTokens(parser, file, lexed);
  const characters = describeLexing(file, lexed);
  const damage = damageOfCharacters(parser.damage, module.items, characters);
  const diagnostics = [...characters, ...parser.diagnostics];
  const deepest = findTooDeep(module);
  if (deepest !== null) return refuse(file, "syntax/too-deep", TOO_DEEP, deepest.span.start);
  // In reading order, whichever stage found them.
  diagnostics.sort((a, b) => a.labels[0]!.span.start - b.labels[0]!.span.start);
  return { module, diagnostics, damage };
}

/** Parses one expression and nothing else; null with what is wrong with it. Throws `option/*`. */
export function parseExpression(file: SourceFile): {
  readonly expr: Expr | null;
  readonly diagnostics: readonly Diagnostic[];
} {
  checkOption("parseExpression", "file", file, needed(sourceFile));
  const refused = (...args: Parameters<typeof refuse>) => ({ expr: null, diagnostics: refuse(...args).diagnostics });
  if (file.text.length > LIMITS.text) return refused(file, "syntax/too-long", describeLength(file), 0);
  const lexed = tokenize(file.text);
  parser ??= new MoeParser();
  try {
    const expr = parser.parseExpression({ file, tokens: lexed.tokens, docs: new Map() });
    const diagnostics = [...describeLexing(file, lexed), ...parser.diagnostics];
    const deepest = expr === null ? null : findTooDeep(expr);
    if (deepest !== null) return refused(file, "syntax/too-deep", TOO_DEEP, deepest.span.start);
    return { expr: diagnostics.length > 0 ? null : expr, diagnostics };
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    return refused(file, "syntax/too-deep", TOO_DEEP, 0);
  }
}

const TOO_DEEP = `this is nested more than ${LIMITS.nesting} deep`;

const describeLength = ({ text }: SourceFile): string =>
  `this file has ${text.length} characters, and a file of the language has at most ${LIMITS.text}`;

const help = {
  "syntax/too-deep": "give parts of it names of their own: `a = ...`, then `b = ... a ...`",
  "syntax/too-long": "split it, and `import` one file from the other; weights belong into safetensors files",
} as const;

/** A file of which nothing is read. */
function refuse(file: SourceFile, code: keyof typeof help, message: string, start: number): ParsedFile {
  const labels = [{ span: { file, start, end: start }, text: "" }];
  return {
    module: { kind: "module", edition: null, imports: [], items: [], span: { file, start: 0, end: file.text.length } },
    diagnostics: [{ code, severity: "error", message, labels, notes: [], help: help[code] }],
    damage: NO_DAMAGE,
  };
}

/** The first node that lies too deep for what walks the tree. Sums of many terms are as deep as they are long. */
function findTooDeep(root: Node): Node | null {
  let level: readonly Node[] = [root];
  for (let depth = 0; level.length > 0; depth++) {
    if (depth > LIMITS.nesting) return level[0]!;
    level = level.flatMap(children);
  }
  return null;
}

/** The one thing a recursive parser cannot report from within: that its stack is full. */
function parseTokens(parser: MoeParser, file: SourceFile, lexed: ILexingResult): Module {
  try {
    return parser.parse({ file, tokens: lexed.tokens, docs: attachDocs(lexed) });
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    const { module, diagnostics } = refuse(file, "syntax/too-deep", TOO_DEEP, 0);
    parser.diagnostics = [...diagnostics];
    return module;
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
