/**
 * Where text came from. A span is a half-open range of UTF-16 offsets in one named source file; every AST node,
 * graph node and kernel carries one, so that any later failure can point at a `.moe` line.
 */

/** A source file: `path` is what messages print, `text` the whole content. */
export interface SourceFile {
  readonly path: string;
  readonly text: string;
  /** Of the standard library: messages rather point at a user's own files. */
  readonly isLibrary?: boolean;
}

/** From `start` (inclusive) to `end` (exclusive) in `file`. */
export interface Span {
  readonly file: SourceFile;
  readonly start: number;
  readonly end: number;
}

/** The smallest span that covers both, which must be of one file. */
export function join(a: Span, b: Span): Span {
  return { file: a.file, start: Math.min(a.start, b.start), end: Math.max(a.end, b.end) };
}

/** The source text of a place. */
export function textOf(span: Span): string {
  return span.file.text.slice(span.start, span.end);
}
