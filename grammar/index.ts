/** The public surface of the grammar: text to tree and back, and diagnostics. */
export type * from "./ast.ts";
export { DiagnosticBag, failure, MoeError } from "./diagnostic.ts";
export type { Diagnostic, Label, Severity } from "./diagnostic.ts";
export { format } from "./format.ts";
export { parse } from "./parse.ts";
export { renderDiagnostic } from "./render.ts";
export { formatSpan, lineAndColumn } from "./place.ts";
export { join, textOf } from "./span.ts";
export type { SourceFile, Span } from "./span.ts";
export { suggest } from "./suggest.ts";
export { children, walk } from "./visit.ts";
export type { Node } from "./visit.ts";
