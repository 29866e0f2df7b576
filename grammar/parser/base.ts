/**
 * What all rules share: spans, names, lists, blocks and recovery. Rules build the tree as they go (embedded actions).
 *
 * Recovery is ours, not Chevrotain's: without separators almost any token may begin a statement, so its follow sets
 * find nothing. Instead every declaration and every entry of a block runs in `guard`, which reports the error and
 * skips to the next line that can begin an entry, to the block's `}`, or to the next declaration.
 *
 * Chevrotain first runs each rule once to record the grammar; `LA` then yields the end of the file and subrules yield
 * a dummy, so code between the calls must not look inside what they return.
 */
import { EmbeddedActionsParser, EOF, isRecognitionException, tokenMatcher } from "chevrotain";
import type { IToken, IRecognitionException, ParserMethod, TokenType } from "chevrotain";
import type { Name } from "../ast.ts";
import type { Diagnostic } from "../diagnostic.ts";
import { describeToken, describeUnexpected, expectations } from "../messages.ts";
import type { SourceFile, Span } from "../span.ts";
import * as t from "../tokens.ts";

export type Rule<T> = ParserMethod<[], T>;

/** What one file brings: its text, and its doc comments by the offset of the token they stand above. */
export interface ParseInput {
  readonly file: SourceFile;
  readonly tokens: IToken[];
  readonly docs: ReadonlyMap<number, string>;
}

export abstract class BaseRules extends EmbeddedActionsParser {
  diagnostics: Diagnostic[] = [];
  private file: SourceFile = { path: "", text: "" };
  private docs: ReadonlyMap<number, string> = new Map();

  /** `validate` checks the grammar itself (ambiguity, left recursion): slow, for tests. */
  constructor(validate: boolean) {
    super(t.allTokens, { maxLookahead: 1, skipValidations: !validate, errorMessageProvider: expectations });
  }

  /** `RULE` whose result is checked against the rule's declared type. */
  protected rule<T>(name: string, implementation: () => T): Rule<T> {
    return this.RULE(name, implementation);
  }

  protected begin(input: ParseInput): void {
    this.file = input.file;
    this.docs = input.docs;
    this.diagnostics = [];
    this.input = input.tokens;
  }

  // Places.

  /** From `start` to the token consumed last. */
  protected since(start: IToken): Span {
    const end = this.LA(0).endOffset;
    return { file: this.file, start: start.startOffset, end: (end ?? start.startOffset) + 1 };
  }

  protected spanOf(token: IToken): Span {
    const { length } = this.file.text;
    // The end of the file has no offset; its place is behind the last token, where something is missing.
    if (token.tokenType === EOF) {
      const end = this.LA(0).endOffset;
      const start = end === undefined || Number.isNaN(end) ? length : end + 1;
      return { file: this.file, start, end: start };
    }
    return { file: this.file, start: token.startOffset, end: token.endOffset! + 1 };
  }

  protected nameOf(token: IToken): Name {
    return { text: token.image, span: this.spanOf(token) };
  }

  protected docOf(token: IToken): string | null {
    return this.docs.get(token.startOffset) ?? null;
  }

  // Looking ahead.

  protected at(type: TokenType, ahead = 1): boolean {
    return tokenMatcher(this.LA(ahead), type);
  }

  /** Whether the next token is on the line on which the last one ends: `(`, `[` and `{` there belong to it. */
  protected onSameLine(): boolean {
    return this.LA(0).endLine === this.LA(1).startLine;
  }

  /** No entry of a block begins like this, so a `}` must be missing. */
  protected atDeclaration(): boolean {
    if (this.at(t.Import)) return this.at(t.LCurly, 2);
    return this.at(t.ItemKeyword) && (this.at(t.Name, 2) || this.at(t.StringLiteral, 2));
  }

  /** A line that begins a declaration, which no expression goes on with: two names never stand side by side in one. */
  protected atDeclarationLine(): boolean {
    return !this.onSameLine() && this.atDeclaration() && this.LA(1).endLine === this.LA(2).startLine;
  }

  protected atBlockEnd(): boolean {
    return this.at(t.RCurly) || this.at(EOF) || this.atDeclaration();
  }

  // Lists and blocks. Each is used at most once per rule, as Chevrotain numbers the calls of a rule.

  readonly name: Rule<Name> = this.rule("name", () => this.nameOf(this.CONSUME(t.Name)));
  readonly word: Rule<Name> = this.rule("word", () => this.nameOf(this.CONSUME(t.Word)));

  /** Items separated by commas; one more comma may follow the last. */
  protected commaList<T>(item: Rule<T>): T[] {
    const items: T[] = [];
    let more = true;
    this.MANY({
      GATE: () => more,
      DEF: () => {
        items.push(this.SUBRULE(item));
        more = this.OPTION9(() => this.CONSUME9(t.Comma)) !== undefined;
      },
    });
    return items;
  }

  /** `{ entry entry ... }`; `expected` names an entry, `keywords` are those one may begin with. */
  protected block<T>(entry: Rule<T>, expected: string, keywords: readonly string[] = []): T[] {
    const open = this.CONSUME(t.LCurly);
    const entries: T[] = [];
    do {
      this.MANY({
        GATE: () => !this.atBlockEnd(),
        DEF: () => this.guard(() => entries.push(this.SUBRULE(entry)), keywords),
      });
    } while (this.skipJunk(expected));
    if (!this.OPTION(() => this.CONSUME(t.RCurly))) {
      this.report(
        "syntax/unclosed-block",
        `expected \`}\`, found ${describeToken(this.LA(1))}`,
        this.spanOf(this.LA(1)),
        `add \`}\` to end the block`,
        { span: this.spanOf(open), text: "this block is not closed" },
      );
    }
    return entries;
  }

  /** Reports and skips what begins no entry. False at the end of the block. */
  private skipJunk(expected: string): boolean {
    if (this.atBlockEnd()) return false;
    const token = this.LA(1);
    this.unexpected(token, expected, token, []);
    this.skipFrom(token);
    return true;
  }

  // Errors.

  protected report(
    code: string,
    message: string,
    span: Span,
    help: string | null = null,
    also?: Diagnostic["labels"][0],
  ): void {
    const first = { span, text: "" };
    const labels = also ? [first, also] : [first];
    this.diagnostics.push({ code, severity: "error", message, labels, notes: [], help });
  }

  /** Runs a piece of grammar; if it fails, reports why and skips to where the next piece can begin. */
  protected guard(piece: () => void, keywords: readonly string[]): void {
    const start = this.LA(1);
    try {
      piece();
    } catch (error) {
      if (!(error instanceof Error) || !isRecognitionException(error)) throw error;
      const { token, message } = error as IRecognitionException & Error;
      this.unexpected(token, message, start, keywords);
      this.skipFrom(start);
    }
  }

  protected unexpected(token: IToken, expected: string, start: IToken, keywords: readonly string[]): void {
    // A string without an end has swallowed what was expected, and is reported itself.
    if (this.LA(0).tokenType === t.UnterminatedString) return;
    // A misspelt keyword is read as a name, so the error shows one token later.
    const suspect = this.LA(0) === start && this.LA(1) === token ? start : token;
    const { message, help } = describeUnexpected(token, expected, suspect, keywords);
    this.report("syntax/unexpected-token", message, this.spanOf(token), help);
  }

  /** Skips the rest of the piece that began at `start`: at least one token, up to a line that begins another one. */
  private skipFrom(start: IToken): void {
    let open = this.countOpen(start, t.LParen, t.RParen) + this.countOpen(start, t.LSquare, t.RSquare);
    // Blocks see to their own braces; those of an import are a list's.
    let braces = start.tokenType === t.Import ? this.countOpen(start, t.LCurly, t.RCurly) : 0;
    if (this.LA(1) === start) this.skipToken();
    while (!this.at(EOF)) {
      const headsLine = !this.onSameLine();
      if (headsLine && this.atDeclaration()) return;
      if (headsLine && braces === 0 && (open <= 0 || this.at(t.Assign, 2) || this.at(t.Both, 2) || this.at(t.Return)))
        return;
      if (this.at(t.RCurly) && braces-- === 0) return;
      if (this.at(t.LCurly)) braces++;
      if (this.at(t.LParen) || this.at(t.LSquare)) open++;
      if (this.at(t.RParen) || this.at(t.RSquare)) open--;
      this.skipToken();
    }
  }

  /** How many of these were opened since `start` and not yet closed. */
  private countOpen(start: IToken, opening: TokenType, closing: TokenType): number {
    let open = 0;
    for (let back = 0; this.LA(back).startOffset >= start.startOffset; back--) {
      if (this.at(opening, back)) open++;
      if (this.at(closing, back)) open--;
    }
    return open;
  }

  protected skipToken(): void {
    this.consume(0, this.LA(1).tokenType);
  }
}
