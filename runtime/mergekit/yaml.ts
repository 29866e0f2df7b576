/**
 * YAML as values that know their place in the text. Children are made when they are asked for, so that what aliases unfold to is
 * bounded by what a reader looks at.
 */
import { type Document, isAlias, isMap, isScalar, isSeq, type Node, parseDocument } from "yaml";
import { failure } from "../../grammar/diagnostic.ts";
import type { SourceFile, Span } from "../../grammar/span.ts";
import { limitTime } from "../load/time-limit.ts";
import { TimeIsOver } from "../tokenizer/limit.ts";

export interface Entry {
  readonly key: string;
  readonly span: Span;
  readonly value: Item;
}

export type Item = { readonly span: Span } & (
  | { readonly kind: "map"; readonly entries: () => readonly Entry[] }
  | { readonly kind: "list"; readonly items: () => readonly Item[] }
  | { readonly kind: "scalar"; readonly value: unknown }
);

/** A configuration is read in milliseconds. */
const MOST_MILLISECONDS = 10_000;

/** The first document of a file. Throws `import/yaml`. */
export function readYaml(file: SourceFile): Item {
  const document = parse(file);
  const [error] = document.errors;
  if (error !== undefined) {
    const [start, end] = error.pos;
    const reason = error.message.split("\n")[0]!.replace(/\.$/, "");
    throw failure("import/yaml", `this is not YAML: ${reason.charAt(0).toLowerCase()}${reason.slice(1)}`, {
      labels: [{ span: { file, start, end: Math.max(end, start + 1) }, text: "read up to here" }],
      help: "look for indentation, quotes and colons near this place",
    });
  }
  return itemOf(document.contents, { file, start: 0, end: Math.min(1, file.text.length) }, document);
}

/** Keys are compared when they are read: the library would compare each with each. */
function parse(file: SourceFile): Document {
  try {
    return limitTime(MOST_MILLISECONDS, () => parseDocument(file.text, { prettyErrors: false, uniqueKeys: false }));
  } catch (cause) {
    if (!(cause instanceof TimeIsOver)) throw cause;
    throw failure("import/yaml", `\`${file.path}\` is not read to its end in ${MOST_MILLISECONDS / 1000} s`, {
      labels: [{ span: { file, start: 0, end: 1 }, text: `${file.text.length} characters` }],
      help: "a configuration of mergekit-moe is short: is it the right file?",
    });
  }
}

/** Shown for a key that is a list or a mapping. */
const UNREAD = "?";

/** `around` is the place of what is not written: an empty value. */
function itemOf(node: unknown, around: Span, document: Document): Item {
  if (isAlias(node)) return { ...itemOf(node.resolve(document), around, document), span: spanOf(node, around) };
  if (isMap(node)) {
    const entries = (): readonly Entry[] =>
      node.items.map(({ key, value }) => {
        const span = spanOf(key, around);
        return { key: isScalar(key) ? String(key.value) : UNREAD, span, value: itemOf(value, span, document) };
      });
    return { kind: "map", span: spanOf(node, around), entries: () => checkUnique(entries()) };
  }
  if (isSeq(node)) {
    const span = spanOf(node, around);
    return { kind: "list", span, items: () => node.items.map((item) => itemOf(item, span, document)) };
  }
  return { kind: "scalar", span: spanOf(node, around), value: isScalar(node) ? node.value : null };
}

function checkUnique(entries: readonly Entry[]): readonly Entry[] {
  const known = new Map<string, Span>();
  for (const { key, span } of entries) {
    const first = known.get(key);
    if (first !== undefined && key !== UNREAD)
      throw failure("import/yaml", `\`${key}\` is given twice`, {
        labels: [
          { span, text: "again here" },
          { span: first, text: "first here" },
        ],
        help: "remove one of them",
      });
    known.set(key, span);
  }
  return entries;
}

function spanOf(node: unknown, around: Span): Span {
  const range = (node as Node | null)?.range;
  if (range == null) return around;
  const [start, end] = range;
  // An empty value has its place behind the colon.
  return end > start ? { ...around, start, end } : around;
}
