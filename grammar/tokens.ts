/**
 * The words of the language. Keywords are contextual wherever the parser can tell: a soft keyword (`model`, `loss`,
 * `test`...) is also a `Name`, a hard one (`if`, `of`...) is only a `Word`, which may follow a point or precede a colon.
 * Line breaks are not tokens; the parser reads line numbers where they matter.
 */
import { createToken, Lexer, type TokenType } from "chevrotain";

const abstractToken = (name: string, label: string): TokenType => createToken({ name, label, pattern: Lexer.NA });

/** Any identifier or keyword: after `.` and before `:`. */
export const Word = abstractToken("Word", "a name");
/** An identifier or a soft keyword. */
export const Name = abstractToken("Name", "a name");
/** A keyword that begins a top-level declaration. */
export const ItemKeyword = abstractToken("ItemKeyword", "a declaration");
/** An infix operator of an expression. */
export const Operator = abstractToken("Operator", "an operator");

// Hints spare Chevrotain from analysing the patterns, which takes time at every start.
const digits = [..."0123456789"];
const letters = [..."ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_"];

export const Identifier = createToken({
  name: "Identifier",
  label: "a name",
  pattern: /[A-Za-z_][A-Za-z0-9_]*'*/,
  start_chars_hint: letters,
  line_breaks: false,
  categories: [Name, Word],
});

const keyword = (text: string, ...categories: TokenType[]): TokenType =>
  createToken({ name: `"${text}"`, label: `\`${text}\``, pattern: text, longer_alt: Identifier, categories });
const soft = (text: string): TokenType => keyword(text, Name, Word);
const hard = (text: string, ...categories: TokenType[]): TokenType => keyword(text, Word, ...categories);
const item = (text: string): TokenType => keyword(text, Name, Word, ItemKeyword);
const sign = (text: string, ...categories: TokenType[]): TokenType =>
  createToken({ name: `"${text}"`, label: `\`${text}\``, pattern: text, categories });

export const Edition = soft("edition");
export const Import = soft("import");
export const From = soft("from");
export const Dim = item("dim");
export const Fn = item("fn");
export const Layer = item("layer");
export const Router = item("router");
export const Model = item("model");
export const Optimizer = item("optimizer");
export const Config = item("config");
export const MapKeyword = item("map");
export const Mixture = item("mixture");
export const Upcycle = item("upcycle");
export const Test = item("test");
export const Loss = soft("loss");
export const Metric = soft("metric");
export const Update = soft("update");
export const Ensures = soft("ensures");
export const Expect = soft("expect");
export const Either = soft("either");
export const Ignore = soft("ignore");
export const Stored = soft("stored");
export const Default = soft("default");
export const Forward = soft("forward");
export const Step = soft("step");
export const For = hard("for");
export const In = hard("in");
export const If = hard("if");
export const Then = hard("then");
export const Else = hard("else");
export const Return = hard("return");
export const Where = hard("where");
export const As = hard("as");
export const Of = hard("of");
export const Not = hard("not");
export const True = hard("true");
export const False = hard("false");
export const And = hard("and", Operator);
export const Or = hard("or", Operator);

export const Both = sign("<->");
export const Arrow = sign("->");
export const Implies = sign("=>", Operator);
export const Equal = sign("==", Operator);
export const NotEqual = sign("!=", Operator);
export const LessEqual = sign("<=", Operator);
export const GreaterEqual = sign(">=", Operator);
export const Less = sign("<", Operator);
export const Greater = sign(">", Operator);
export const Assign = sign("=");
export const Fallback = sign("??", Operator);
export const Plus = sign("+", Operator);
export const Minus = sign("-", Operator);
export const Star = sign("*", Operator);
export const Slash = sign("/", Operator);
export const Percent = sign("%", Operator);
export const Rest = sign("..");
export const Dot = sign(".");
export const Comma = sign(",");
export const Colon = sign(":");
export const Bar = sign("|");
export const LParen = sign("(");
export const RParen = sign(")");
export const LSquare = sign("[");
export const RSquare = sign("]");
export const LCurly = sign("{");
export const RCurly = sign("}");

export const NumberLiteral = createToken({
  name: "NumberLiteral",
  label: "a number",
  pattern: /[0-9][0-9_]*(?:\.[0-9][0-9_]*)?(?:[eE][+-]?[0-9]+)?/,
  start_chars_hint: digits,
  line_breaks: false,
});
const quoted = { start_chars_hint: ['"'], line_breaks: false };
export const StringLiteral = createToken({
  name: "StringLiteral",
  label: "a string",
  pattern: /"(?:[^"\\\n]|\\.)*"/,
  ...quoted,
});
/** Stands in for a string, so that one missing quote is one error. */
export const UnterminatedString = createToken({
  name: "UnterminatedString",
  label: "a string",
  pattern: /"(?:[^"\\\n]|\\.)*/,
  ...quoted,
  categories: [StringLiteral],
});

const Space = createToken({
  name: "Space",
  pattern: /[ \t\r\n\uFEFF]+/,
  group: Lexer.SKIPPED,
  start_chars_hint: [..." \t\r\n\uFEFF"],
  line_breaks: true,
});
const slashed = { start_chars_hint: ["/"], line_breaks: false };
export const Doc = createToken({ name: "Doc", pattern: /\/\/\/[^\n]*/, group: "docs", ...slashed });
export const Comment = createToken({ name: "Comment", pattern: /\/\/[^\n]*/, group: "comments", ...slashed });

const itemKeywords = [Dim, Fn, Layer, Router, Model, Optimizer, Config, MapKeyword, Mixture, Upcycle, Test];
const softKeywords = [
  Edition,
  Import,
  From,
  Loss,
  Metric,
  Update,
  Ensures,
  Expect,
  Either,
  Ignore,
  Stored,
  Default,
  Forward,
  Step,
];
const hardKeywords = [For, In, If, Then, Else, Return, Where, As, Of, Not, True, False, And, Or];

/** In the order they are tried: longer signs first, keywords before identifiers. */
export const allTokens: TokenType[] = [
  ...[Space, Doc, Comment, ...itemKeywords, ...softKeywords, ...hardKeywords, Identifier],
  ...[NumberLiteral, StringLiteral, UnterminatedString],
  ...[Both, Arrow, Implies, Equal, NotEqual, LessEqual, GreaterEqual, Less, Greater, Assign, Fallback],
  ...[Plus, Minus, Star, Slash, Percent, Rest, Dot, Comma, Colon, Bar],
  ...[LParen, RParen, LSquare, RSquare, LCurly, RCurly],
  ...[Word, Name, ItemKeyword, Operator],
];

const textOf = (token: TokenType): string => token.PATTERN as string;

/** The words that begin a part of a file, as written, for did-you-mean. */
export const declarationWords: readonly string[] = [Edition, Import, ...itemKeywords].map(textOf);
/** Every keyword, as written. */
export const keywords: readonly string[] = [...itemKeywords, ...softKeywords, ...hardKeywords].map(textOf);
