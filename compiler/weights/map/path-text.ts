/** Paths that come from a command line instead of a file: names with dots between them and one index each, nothing else. */
import type { Expr } from "../../../grammar/ast.ts";
import type { Span } from "../../../grammar/span.ts";

/** `blocks[l].ffn.experts[0].up.w`: the paths of the language, without the rest of its expressions. */
export function parsePath(span: Span): Expr | null {
  const text = span.file.text.slice(span.start, span.end);
  let expr: Expr | null = null;
  let start = span.start;
  for (const step of text.split(".")) {
    const match = /^([A-Za-z_]\w*)(?:\[(?:(\d+)|([A-Za-z_]\w*))\])?$/.exec(step);
    if (match === null) return null;
    const end = start + step.length;
    const at = { file: span.file, start, end };
    const whole = { ...at, start: span.start };
    const name = { text: match[1]!, span: { ...at, end: start + match[1]!.length } };
    expr =
      expr === null ? { kind: "name", name, span: name.span } : { kind: "member", object: expr, name, span: whole };
    const inside = { ...at, start: name.span.end + 1, end: end - 1 };
    const index = indexExpr(match[2], match[3], inside);
    if (index !== null) expr = { kind: "bracket", object: expr, items: [index], span: whole };
    start = end + 1;
  }
  return expr;
}

function indexExpr(number: string | undefined, name: string | undefined, span: Span): Expr | null {
  if (number !== undefined) return { kind: "number", value: Number(number), float: false, span };
  return name === undefined ? null : { kind: "name", name: { text: name, span }, span };
}
