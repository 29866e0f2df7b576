/** Text files as the pieces of their documents, a piece at a time: a file of any size takes as much memory as its longest line. */
import { isUtf8 } from "node:buffer";
import { failure } from "../../../grammar/diagnostic.ts";
import { openToRead, recode } from "../../files/read.ts";
import { DOCUMENT_SEPARATOR } from "../../tokenizer/documents.ts";

export interface Piece {
  readonly text: string;
  /** Whether it begins a document. */
  readonly begins: boolean;
}

/** Hears of all bytes of a file, as they come. */
export type See = (bytes: Uint8Array) => void;

const CHUNK_BYTES = 1 << 20;

/** A file's bytes, a megabyte at a time; `see` gets each. Throws `checkpoint/unreadable`, `file/special`. */
export function* readChunks(path: string, see: See): Generator<Uint8Array> {
  const file = recode("checkpoint/unreadable", () => openToRead(path));
  try {
    for (let at = 0; ;) {
      const bytes = new Uint8Array(CHUNK_BYTES);
      const got = recode("checkpoint/unreadable", () => file.readNow(bytes, at));
      if (got === 0) return;
      at += got;
      const own = bytes.subarray(0, got);
      see(own);
      yield own;
    }
  } finally {
    file.close();
  }
}

/** Documents between U+001E; empty ones are left out. Throws `cli/not-utf8` with the line. */
export function* readTextPieces(path: string, see: See): Generator<Piece> {
  let begins = true;
  for (const text of readText(path, see)) {
    for (const [i, part] of text.split(DOCUMENT_SEPARATOR).entries()) {
      begins ||= i > 0;
      if (part === "") continue;
      yield { text: part, begins };
      begins = false;
    }
  }
}

/** A line of more characters is no JSONL. */
const MOST_LINE = 1 << 28;

/** The field `field` of each line's object; empty lines and empty documents are left out. Throws `train/bad-jsonl`, `cli/not-utf8`. */
export function* readJsonlPieces(path: string, field: string, see: See): Generator<Piece> {
  let [rest, line] = ["", 0];
  const pieceOf = (text: string): readonly Piece[] => {
    line++;
    const found = text.trim() === "" ? "" : readField(path, line, text, field);
    return found === "" ? [] : [{ text: found, begins: true }];
  };
  for (const text of readText(path, see)) {
    const [first, ...more] = text.split("\n");
    rest += first;
    for (const next of more) {
      yield* pieceOf(rest);
      rest = next;
    }
    if (rest.length > MOST_LINE)
      throw badLine(path, line + 1, `has more than ${MOST_LINE} characters`, "is it JSONL, with an object per line?");
  }
  yield* pieceOf(rest);
}

function readField(path: string, line: number, text: string, field: string): string {
  const json = parseLine(path, line, text);
  if (typeof json !== "object" || json === null || Array.isArray(json))
    throw badLine(path, line, `is ${kindOf(json)}, not an object`, 'write an object per line: {"text": "..."}');
  const record = json as Readonly<Record<string, unknown>>;
  const value = Object.hasOwn(record, field) ? record[field] : undefined;
  if (typeof value === "string") return value;
  const texts = Object.keys(record).filter((key) => typeof record[key] === "string");
  throw badLine(
    path,
    line,
    value === undefined ? `has no field \`${field}\`` : `has ${kindOf(value)} in its field \`${field}\`, not a text`,
    texts.length === 0
      ? "give the field that holds the text"
      : `give the field that holds the text, such as ${path}#${texts[0]}`,
    [`its fields with texts: ${texts.length === 0 ? "none" : texts.slice(0, 8).join(", ")}`],
  );
}

function parseLine(path: string, line: number, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw badLine(path, line, "is not JSON", "write an object per line, and no line break inside of one", [
      `it begins with ${JSON.stringify(text.trim().slice(0, 60))}`,
    ]);
  }
}

function badLine(path: string, line: number, what: string, help: string, notes: readonly string[] = []): Error {
  return failure("train/bad-jsonl", `line ${line} of \`${path}\` ${what}`, { help, notes });
}

function kindOf(value: unknown): string {
  if (value === null) return "null";
  return Array.isArray(value) ? "a list" : `a${typeof value === "object" ? "n object" : ` ${typeof value}`}`;
}

/** A file's text, in parts that end with whole characters. */
function* readText(path: string, see: See): Generator<string> {
  const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  let rest = new Uint8Array(0);
  let [line, isFirst] = [1, true];
  const decode = (bytes: Uint8Array): string => {
    if (!isUtf8(bytes)) throw notText(path, line, bytes);
    const text = decoder.decode(bytes);
    for (let at = bytes.indexOf(10); at >= 0; at = bytes.indexOf(10, at + 1)) line++;
    const own = isFirst && text.startsWith("\uFEFF") ? text.slice(1) : text;
    isFirst = false;
    return own;
  };
  for (const chunk of readChunks(path, see)) {
    const bytes = new Uint8Array(rest.length + chunk.length);
    bytes.set(rest);
    bytes.set(chunk, rest.length);
    const end = wholeCharacters(bytes);
    rest = bytes.slice(end);
    if (end > 0) yield decode(bytes.subarray(0, end));
  }
  if (rest.length > 0) yield decode(rest);
}

/** Where the last character ends that is there as a whole; a character has four bytes at most. */
function wholeCharacters(bytes: Uint8Array): number {
  for (let back = 1; back <= Math.min(3, bytes.length); back++) {
    const byte = bytes[bytes.length - back]!;
    if (byte < 0x80) break;
    if (byte < 0xc0) continue;
    const length = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : 2;
    return length > back ? bytes.length - back : bytes.length;
  }
  return bytes.length;
}

function notText(path: string, firstLine: number, bytes: Uint8Array): Error {
  let [line, start] = [firstLine, 0];
  for (let end = bytes.indexOf(10); end >= 0 && isUtf8(bytes.subarray(start, end)); end = bytes.indexOf(10, start))
    [line, start] = [line + 1, end + 1];
  return failure("cli/not-utf8", `\`${path}\` is not text in UTF-8: line ${line} has other bytes`, {
    help: "save it as UTF-8, or leave it out of the data",
  });
}
