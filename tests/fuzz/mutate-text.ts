/**
 * Texts made wrong as strangers' texts are: a token left out, written twice, exchanged, taken from another file; lines moved; bytes
 * lost or added; numbers beyond what anything can hold; brackets without end. Several such changes may meet in one text.
 */
import type { Random } from "./random.ts";

const TOKEN =
  /\s+|[A-Za-z_][\w']*|\d+(?:\.\d+)?(?:e[+-]?\d+)?|"(?:[^"\\\n]|\\.)*"|->|<->|=>|\?\?|==|!=|<=|>=|\/\/[^\n]*|./gsu;

export const tokensOf = (text: string): string[] => text.match(TOKEN) ?? [];

/** Numbers at and beyond the edges of what is counted with. */
export const NUMBERS: readonly string[] = [
  ..."0 1 2 3 7 -1 0.5 -0.5 1.0 1e-9 65536 4294967296 2147483648 9007199254740991 9007199254740993".split(" "),
  ..."1e26 1e308 1e309 -1e309 5e-324 0e0 00 1_000 0x10".split(" "),
];

const CHARACTERS = [
  "\0",
  "\uFFFD",
  "\uD800",
  "\uFEFF",
  "\u2028",
  "\r",
  "\r\n",
  "\t",
  '"',
  "\\",
  "{",
  "}",
  "(",
  "[",
  "'",
  "é",
  "😀",
];

type Change = (tokens: string[], random: Random, other: () => readonly string[]) => string[];

const isSpace = (token: string): boolean => /^\s/.test(token);

/** A place in the list that is no white space, where there is one. */
function place(tokens: readonly string[], random: Random): number {
  let at = random.index(tokens.length);
  for (let tries = 0; tries < 4 && isSpace(tokens[at] ?? ""); tries++) at = random.index(tokens.length);
  return at;
}

const run = (tokens: readonly string[], random: Random, most: number): [number, number] => {
  const from = random.index(tokens.length);
  return [from, Math.min(tokens.length, from + 1 + random.index(most))];
};

const isNumber = (token: string): boolean => /^\d/.test(token);

const changes: readonly Change[] = [
  (t, r) => t.toSpliced(place(t, r), 1),
  (t, r) => {
    const at = place(t, r);
    return t.toSpliced(at, 0, t[at] ?? "", " ");
  },
  // One token in the place of another, of this file or of another one.
  (t, r) => t.with(place(t, r), r.pick(t)),
  (t, r, other) => t.with(place(t, r), r.pick(other())),
  (t, r, other) => t.toSpliced(place(t, r), 0, r.pick(other()), " "),
  (t, r) => {
    const [a, b] = [place(t, r), place(t, r)];
    return t.with(a, t[b]!).with(b, t[a]!);
  },
  // Numbers.
  (t, r) => {
    const at = t.flatMap((token, i) => (isNumber(token) ? [i] : []));
    return at.length === 0 ? t.with(place(t, r), r.pick(NUMBERS)) : t.with(r.pick(at), r.pick(NUMBERS));
  },
  // Stretches: left out, written again, moved, from elsewhere.
  (t, r) => {
    const [from, to] = run(t, r, 20);
    return t.toSpliced(from, to - from);
  },
  (t, r) => {
    const [from, to] = run(t, r, 40);
    return t.toSpliced(to, 0, ...t.slice(from, to));
  },
  (t, r) => {
    const [from, to] = run(t, r, 20);
    return t.toSpliced(from, to - from).toSpliced(r.index(t.length), 0, ...t.slice(from, to));
  },
  (t, r, other) => {
    const source = other();
    const [from, to] = run(source, r, 40);
    return t.toSpliced(r.index(t.length), r.chance(0.5) ? 0 : to - from, ...source.slice(from, to));
  },
  // Cut short, or joined with the end of another.
  (t, r) => t.slice(0, r.index(t.length)),
  (t, r, other) => [...t.slice(0, r.index(t.length)), ...other().slice(r.index(40))],
  // Single characters.
  (t, r) => {
    const at = r.index(t.length);
    const token = t[at]!;
    const cut = r.index(token.length);
    return t.with(at, token.slice(0, cut) + (r.chance(0.5) ? r.pick(CHARACTERS) : "") + token.slice(cut + r.index(2)));
  },
  // Lines.
  (t, r) => {
    const lines = t.join("").split("\n");
    const [a, b] = [r.index(lines.length), r.index(lines.length)];
    const indent = " ".repeat(r.index(6));
    const moved = r.chance(0.5)
      ? lines.with(a, lines[b]!).with(b, lines[a]!)
      : lines.with(a, indent + lines[a]!.trim());
    return tokensOf(moved.join("\n"));
  },
];

/** Seldom, because each makes much text: nesting, repetition, long names. */
const large: readonly Change[] = [
  (t, r) => {
    const depth = 10 ** (1 + r.index(4));
    const [open, close] = r.pick([
      ["(", ")"],
      ["[", "]"],
      ["{", "}"],
      ["-", ""],
      ["not ", ""],
      ["if true then ", " else 1"],
      ["f(", ")"],
    ] as const);
    const at = place(t, r);
    return t.with(at, open.repeat(depth) + t[at]! + (r.chance(0.8) ? close.repeat(depth) : ""));
  },
  (t, r) => {
    const [from, to] = run(t, r, 12);
    return t.toSpliced(to, 0, ...Array.from({ length: 10 ** (1 + r.index(3)) }, () => t.slice(from, to)).flat());
  },
  (t, r) => {
    const at = place(t, r);
    return t.with(at, (/^\w/.test(t[at]!) ? t[at]! : "x").repeat(10 ** (1 + r.index(3))));
  },
];

/** One text that has something wrong, or may have. `other` gives the tokens of another file. */
export function mutateText(text: string, random: Random, other: () => readonly string[]): string {
  let tokens = tokensOf(text);
  for (let n = random.few(); n > 0 && tokens.length > 0; n--) tokens = random.pick(changes)(tokens, random, other);
  if (tokens.length > 0 && random.chance(0.003)) tokens = random.pick(large)(tokens, random, other);
  return tokens.join("");
}
