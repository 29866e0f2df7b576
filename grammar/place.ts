/** Places in text as people and editors count them: lines and columns from one, columns in UTF-16 units. */
import { checkOption, needed, sourceFile, spanRule, whole } from "./option.ts";
import type { SourceFile, Span } from "./span.ts";

/** Line and column of an offset, up to that behind the last character. Throws `option/missing` and `option/bad-value`. */
export function lineAndColumn(file: SourceFile, offset: number): { line: number; column: number } {
  checkOption("lineAndColumn", "file", file, needed(sourceFile));
  checkOption("lineAndColumn", "offset", offset, needed(whole(0, file.text.length)));
  const before = file.text.slice(0, offset);
  const lastBreak = before.lastIndexOf("\n");
  return { line: before.split("\n").length, column: offset - lastBreak };
}

/** `path:line:column`, the form that terminals and editors make clickable. Throws `option/missing` and `option/bad-value`. */
export function formatSpan(span: Span): string {
  checkOption("formatSpan", "span", span, needed(spanRule));
  const { line, column } = lineAndColumn(span.file, span.start);
  return `${span.file.path}:${line}:${column}`;
}
