/** `--param NAME=VALUE`: whole numbers are sizes, others numbers; `true`, `false`, `none`, lists in brackets, text in quotes, and else text. */
import { InvalidArgumentError } from "commander";
import type { Value } from "../compiler/index.ts";

export function parseParam(text: string, before: ReadonlyMap<string, Value> = new Map()): ReadonlyMap<string, Value> {
  const match = /^([A-Za-z_]\w*)=(.+)$/s.exec(text);
  if (match === null) throw new InvalidArgumentError("It must be NAME=VALUE.");
  return new Map([...before, [match[1]!, parseValue(match[2]!.trim())]]);
}

/** Throws `InvalidArgumentError` for a list or a quoted text that does not end where the value does. */
function parseValue(text: string): Value {
  if (!/^["[]/.test(text)) return wordOf(text);
  const { value, end } = readValue(text, 0);
  return end === text.length ? value : unreadable(text, end);
}

interface Read {
  readonly value: Value;
  /** Where the text goes on: past the value and the spaces behind it. */
  readonly end: number;
}

/** A list, a quoted text, or what stands up to the next comma or bracket. */
function readValue(text: string, start: number): Read {
  if (text[start] === "[") return readList(text, start);
  const pattern = text[start] === '"' ? /("(?:[^"\\]|\\.)*")\s*/sy : /([^,[\]"]*[^,[\]"\s])\s*/y;
  pattern.lastIndex = start;
  const word = pattern.exec(text)?.[1];
  if (word === undefined) return unreadable(text, start);
  return { value: word.startsWith('"') ? textOf(word) : wordOf(word), end: pattern.lastIndex };
}

function readList(text: string, start: number): Read {
  const items: Value[] = [];
  let at = skipSpaces(text, start + 1);
  while (text[at] !== "]") {
    const { value, end } = readValue(text, at);
    items.push(value);
    if (text[end] !== "," && text[end] !== "]") return unreadable(text, end);
    at = text[end] === "," ? skipSpaces(text, end + 1) : end;
  }
  return { value: { kind: "list", items }, end: skipSpaces(text, at + 1) };
}

function skipSpaces(text: string, start: number): number {
  const next = text.slice(start).search(/\S/);
  return next < 0 ? text.length : start + next;
}

/** In quotes, escapes are those of JSON. */
function textOf(quoted: string): Value {
  try {
    return { kind: "string", value: JSON.parse(quoted.replace(/\n/g, "\\n")) as string };
  } catch {
    throw new InvalidArgumentError(`${quoted} has an escape that is not one of JSON's.`);
  }
}

function wordOf(text: string): Value {
  if (text === "none") return { kind: "none" };
  if (text === "true" || text === "false") return { kind: "bool", value: text === "true" };
  if (/^-?\d+$/.test(text)) return { kind: "number", value: Number(text), float: false };
  if (/^-?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$/i.test(text)) return { kind: "number", value: Number(text), float: true };
  return { kind: "string", value: text };
}

function unreadable(text: string, at: number): never {
  const where = at < text.length ? `at \`${text.slice(at, at + 12)}\`` : "at its end";
  throw new InvalidArgumentError(`It cannot be read ${where}: write [1, 2], or ["a text", ["another", "more"]].`);
}
