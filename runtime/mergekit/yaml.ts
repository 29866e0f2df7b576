/**
 * YAML as values that know their place in the text. Children are made when they are asked for, so that what aliases unfold to is
 * bounded by what a reader looks at.
 */
import { type Document, isAlias, isMap, isScalar, isSeq, type Node, parseDocument } from "yaml";
import { failure } from "../../grammar/diagnostic.ts";
import type { SourceFile, Span } from "../../grammar/span.ts";

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

/** The first document of a file. Throws `import/yaml`. */
export function readYaml(file: SourceFile): Item {
  const document = parseDocument(file.text, { prettyErrors: false });
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

/** `around` is the place of what is not written: an empty value. */
function itemOf(node: unknown, around: Span, document: Document): Item {
  if (isAlias(node)) return { ...itemOf(node.resolve(document), around, document), span: spanOf(node, around) };
  if (isMap(node)) {
    const entries = (): readonly Entry[] =>
      node.items.map(({ key, value }) => {
        const span = spanOf(key, around);
        return { key: isScalar(key) ? String(key.value) : "?", span, value: itemOf(value, span, document) };
      });
    return { kind: "map", span: spanOf(node, around), entries };
  }
  if (isSeq(node)) {
    const span = spanOf(node, around);
    return { kind: "list", span, items: () => node.items.map((item) => itemOf(item, span, document)) };
  }
  return { kind: "scalar", span: spanOf(node, around), value: isScalar(node) ? node.value : null };
}

function spanOf(node: unknown, around: Span): Span {
  const range = (node as Node | null)?.range;
  if (range == null) return around;
  const [start, end] = range;
  // An empty value has its place behind the colon.
  return end > start ? { ...around, start, end } : around;
}
