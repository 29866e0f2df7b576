/**
 * The wording of syntax errors, in place of Chevrotain's. Its exceptions carry only *what was expected* as their
 * message; `describeUnexpected` makes the sentence.
 */
import { EOF, tokenLabel, type IParserErrorMessageProvider, type IToken } from "chevrotain";
import { suggest } from "./suggest.ts";
import { Identifier, StringLiteral, UnterminatedString } from "./tokens.ts";

/** Expectations as Chevrotain asks for them: the label of a token, or the description given at the choice. */
export const expectations: IParserErrorMessageProvider = {
  buildMismatchTokenMessage: ({ expected }) => tokenLabel(expected),
  buildNotAllInputParsedMessage: () => "a declaration",
  buildNoViableAltMessage: ({ customUserDescription }) => customUserDescription ?? "something else",
  buildEarlyExitMessage: ({ customUserDescription }) => customUserDescription ?? "something else",
};

/** How a message names the token it met. */
export function describeToken(token: IToken): string {
  if (token.tokenType === EOF) return "the end of the file";
  const isString = token.tokenType === StringLiteral || token.tokenType === UnterminatedString;
  return isString ? "a string" : `\`${token.image}\``;
}

/** One sentence, and a suggestion when `suspect` looks like a misspelling of one of `keywords`. */
export function describeUnexpected(
  token: IToken,
  expected: string,
  suspect: IToken,
  keywords: readonly string[],
): { message: string; help: string | null } {
  const near = suspect.tokenType === Identifier ? suggest(suspect.image, keywords) : null;
  return {
    message: `expected ${expected}, found ${describeToken(token)}`,
    help: near === null ? null : `did you mean \`${near}\`?`,
  };
}

/** Characters that other languages or word processors use, and what to write here. */
const substitutes: Readonly<Record<string, string>> = {
  ";": "statements need no separator: remove `;`",
  "#": "comments begin with `//`",
  "!": "write `not`",
  "&": "write `and`",
  "'": 'strings take double quotes, `"..."`',
  "@": "contractions are written `dot[D](x, w)`",
  "^": "powers are written `pow(x, y)`",
  "?": "write `if c then a else b`, or `a ?? b`",
  "→": "write `->`",
  "↔": "write `<->`",
  "·": "write `*`",
  "×": "write `*`",
  "≤": "write `<=`",
  "≥": "write `>=`",
  "≠": "write `!=`",
  "“": 'write `"`',
  "”": 'write `"`',
};

export function substituteFor(character: string): string | null {
  return substitutes[character] ?? null;
}
