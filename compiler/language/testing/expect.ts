/**
 * Expectations of a `test` block against the results of its program: `==` element by element, `close(a, b, tol: t)`
 * within an absolute or relative tolerance, comparisons, and `and` / `or` / `not` of these.
 */
import type { Expr } from "../../../grammar/ast.ts";
import { suggest } from "../../../grammar/index.ts";
import type { Value as ArrayValue } from "../../ops/define.ts";
import type { Literal } from "./parameters.ts";
import { pathText } from "./test-case.ts";

/** Null when it holds; otherwise what was found, for the report. */
export function checkExpectation(expr: Expr, results: Readonly<Record<string, ArrayValue>>): string | null {
  try {
    const found = holds(expr, results);
    return found === true ? null : found;
  } catch (error) {
    if (error instanceof ExpectationError) return error.message;
    throw error;
  }
}

/** A mistake in the expectation itself. */
class ExpectationError extends Error {}

function holds(expr: Expr, results: Readonly<Record<string, ArrayValue>>): true | string {
  if (expr.kind === "unary" && expr.op === "not") return holds(expr.value, results) === true ? "it holds" : true;
  if (expr.kind === "binary") {
    if (expr.op === "and" || expr.op === "or") {
      const [a, b] = [holds(expr.left, results), holds(expr.right, results)];
      if (expr.op === "and") return a === true ? b : a;
      return a === true || b === true ? true : `${a}; ${b}`;
    }
    const compare = COMPARE[expr.op];
    if (compare !== undefined) return compareAll(read(expr.left, results), read(expr.right, results), compare, expr.op);
  }
  if (expr.kind === "call" && expr.callee.kind === "name" && expr.callee.name.text === "close") {
    const [a, b] = expr.args.filter((arg) => arg.name === null);
    const tolerance = expr.args.find((arg) => arg.name?.text === "tol");
    if (a === undefined || b === undefined) throw new ExpectationError("`close` compares two values");
    const tol = tolerance === undefined ? 1e-5 : (read(tolerance.value, results).data[0] ?? 1e-5);
    return compareAll(
      read(a.value, results),
      read(b.value, results),
      (x, y) => Math.abs(x - y) <= tol * Math.max(1, Math.abs(y)),
      `within ${tol} of`,
    );
  }
  throw new ExpectationError("an expectation is a comparison or `close(a, b)`");
}

const COMPARE: Readonly<Record<string, (a: number, b: number) => boolean>> = {
  "==": (a, b) => a === b,
  "!=": (a, b) => a !== b,
  "<": (a, b) => a < b,
  "<=": (a, b) => a <= b,
  ">": (a, b) => a > b,
  ">=": (a, b) => a >= b,
};

function compareAll(a: Literal, b: Literal, compare: (x: number, y: number) => boolean, word: string): true | string {
  const scalar = b.shape.length === 0;
  if (!scalar && String(a.shape) !== String(b.shape))
    return `the shapes are [${a.shape.join(", ")}] and [${b.shape.join(", ")}]`;
  for (let i = 0; i < a.data.length; i++) {
    const [x, y] = [a.data[i]!, b.data[scalar ? 0 : i]!];
    if (!compare(x, y))
      return `element [${position(i, a.shape).join(", ")}] is ${x}, not ${word === "==" ? "" : `${word} `}${y}; all: ${format(a)}`;
  }
  return true;
}

function position(flat: number, shape: readonly number[]): number[] {
  const out: number[] = [];
  for (const size of [...shape].reverse()) {
    out.unshift(flat % size);
    flat = Math.floor(flat / size);
  }
  return out;
}

function format(value: Literal): string {
  const text = [...value.data].slice(0, 16).map((x) => Number(x.toPrecision(6)));
  return `[${text.join(", ")}${value.data.length > 16 ? ", ..." : ""}]`;
}

/** By one number. */
const ARITHMETIC: Readonly<Record<string, (x: number, y: number) => number>> = {
  "+": (x, y) => x + y,
  "-": (x, y) => x - y,
  "*": (x, y) => x * y,
  "/": (x, y) => x / y,
};

function read(expr: Expr, results: Readonly<Record<string, ArrayValue>>): Literal {
  if (expr.kind === "number") return { shape: [], data: Float64Array.of(expr.value) };
  if (expr.kind === "unary" && expr.op === "-") {
    const { shape, data } = read(expr.value, results);
    return { shape, data: data.map((x) => -x) };
  }
  if (expr.kind === "list") {
    const items = expr.items.map((item) => read(item, results));
    if (items.some((i) => String(i.shape) !== String(items[0]!.shape)))
      throw new ExpectationError("the lists inside of a list differ in length");
    return {
      shape: [items.length, ...(items[0]?.shape ?? [])],
      data: Float64Array.from(items.flatMap((i) => [...i.data])),
    };
  }
  if (expr.kind === "binary" && Object.hasOwn(ARITHMETIC, expr.op)) {
    const [a, b] = [read(expr.left, results), read(expr.right, results)];
    if (b.shape.length > 0) throw new ExpectationError(`what stands right of \`${expr.op}\` has to be one number`);
    return { shape: a.shape, data: a.data.map((x) => ARITHMETIC[expr.op]!(x, b.data[0]!)) };
  }
  const name = pathText(expr);
  if (name === "") throw new ExpectationError("an expectation is made of results, numbers and lists of numbers");
  const value = results[name];
  if (value === undefined) {
    const near = suggest(name, Object.keys(results));
    throw new ExpectationError(
      `there is no result \`${name}\`${near === null ? `; there are ${Object.keys(results).join(", ")}` : `; did you mean \`${near}\`?`}`,
    );
  }
  return { shape: value.axes.map((a) => a.size), data: value.data };
}
