/**
 * A Prettier 3 plugin: `prettier --plugin moec/prettier file.moe`. The layout is `grammar/format.ts`'s; Prettier finds the
 * files, compares and writes them. Prettier's own options do not apply.
 */
import type { Doc, Parser, Printer, SupportLanguage } from "prettier";
import { format, lineAndColumn, type Diagnostic } from "../grammar/index.ts";

interface Formatted {
  readonly text: string;
  readonly length: number;
}

export const languages: SupportLanguage[] = [{ name: "moe", parsers: ["moe"], extensions: [".moe"] }];

export const parsers: Record<"moe", Parser<Formatted>> = {
  moe: {
    astFormat: "moe",
    parse: (source, options) => {
      const { text, diagnostics } = format({ path: options.filepath ?? "input.moe", text: source });
      const error = diagnostics.find(({ severity }) => severity === "error");
      if (error) throw locate(error);
      return { text, length: source.length };
    },
    locStart: () => 0,
    locEnd: ({ length }) => length,
  },
};

export const printers: Record<"moe", Printer<Formatted>> = {
  moe: {
    print: ({ node }) =>
      node.text.split("\n").flatMap((line, index): Doc[] => (index === 0 ? [line] : [hardline, line])),
  },
};

/** What `prettier.doc.builders.hardline` is, written out so that the plugin needs no Prettier to load. */
const hardline: Doc = [{ type: "line", hard: true }, { type: "break-parent" }];

/** Prettier shows a frame of the source when an error has a `loc`. */
function locate({ code, message, help, labels }: Diagnostic): SyntaxError {
  const span = labels[0]!.span;
  const text = `${message}${help === null ? "" : ` (${help})`} [${code}]`;
  const loc = { start: lineAndColumn(span.file, span.start), end: lineAndColumn(span.file, span.end) };
  return Object.assign(new SyntaxError(text), { loc });
}
