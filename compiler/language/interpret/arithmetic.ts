/**
 * Operators. On compile-time values they are ordinary arithmetic (sizes stay exact polynomials); on tensors they are
 * map ops, with numbers adapting to the tensor's dtype; a route times a tensor applies the routing.
 */
import type { BinaryExpr, UnaryExpr } from "../../../grammar/ast.ts";
import { LIMITS } from "../../../grammar/limits.ts";
import { textOf, type Span } from "../../../grammar/span.ts";
import type { OpName } from "../../graph/attrs.ts";
import { Dim } from "../../graph/dim.ts";
import type { Node } from "../../graph/node.ts";
import { type DType, TIME } from "../../graph/type.ts";
import { toSize } from "./axes.ts";
import { finite } from "./bounds.ts";
import type { Env } from "./context.ts";
import { addNode } from "./add-node.ts";
import { evaluate, report } from "./context.ts";
import { applyRoute } from "./route.ts";
import type { RoutedValue, Value } from "./value.ts";
import { describeValue, ERROR } from "./value.ts";

const MAP_OPS = {
  "+": "add",
  "-": "sub",
  "*": "mul",
  "/": "div",
  "%": "mod",
  "==": "eq",
  "!=": "ne",
  "<": "lt",
  "<=": "le",
  ">": "gt",
  ">=": "ge",
  and: "and",
  or: "or",
} as const satisfies Record<string, OpName>;

export function evaluateUnary(env: Env, expr: UnaryExpr): Value {
  const value = evaluate(env, expr.value);
  if (value.kind === "error") return ERROR;
  if (value.kind === "tensor")
    return addNode({ ...env, word: expr.op }, expr.op === "-" ? "neg" : "not", [value.node], {}, expr.span);
  if (expr.op === "not" && value.kind === "bool") return { kind: "bool", value: !value.value };
  if (expr.op === "-" && value.kind === "number") {
    const { dim, ...number } = value;
    return { ...number, value: -value.value, ...(dim === undefined ? {} : { dim: Dim.of(0).minus(dim) }) };
  }
  const size = toSize(value);
  if (expr.op === "-" && size !== null)
    return { kind: "axis", label: null, size: Dim.of(0).minus(size.size), origin: expr.span };
  return report(
    env,
    "type/bad-operand",
    `\`${expr.op}\` does not apply to ${describeValue(value)}`,
    expr.value.span,
    `this is ${describeValue(value)}`,
  );
}

export function evaluateBinary(env: Env, expr: BinaryExpr): Value {
  const left = evaluate(env, expr.left);
  // `a ?? b`: b stands in where a is none.
  if (expr.op === "??") return left.kind === "none" ? evaluate(env, expr.right) : left;
  if (left.kind === "bool" && (expr.op === "and" || expr.op === "or") && left.value === (expr.op === "or")) return left;
  const right = evaluate(env, expr.right);
  if (left.kind === "error" || right.kind === "error") return ERROR;
  if (left.kind === "route" || right.kind === "route") return applyRoute({ ...env, word: expr.op }, expr, left, right);
  if (left.kind === "tensor" || right.kind === "tensor" || left.kind === "routed" || right.kind === "routed")
    return tensorOperation(env, expr, left, right);
  return staticOperation(env, expr, left, right);
}

function tensorOperation(env: Env, expr: BinaryExpr, left: Value, right: Value): Value {
  const op = MAP_OPS[expr.op as keyof typeof MAP_OPS];
  if (op === undefined)
    return report(env, "type/bad-operand", `\`${expr.op}\` does not apply to tensors`, expr.span, "used here");
  const routed = left.kind === "routed" ? left : right.kind === "routed" ? right : null;
  const like = [left, right].find((v) => v.kind === "tensor" || v.kind === "routed") as { node: Node };
  const a = toNode(env, left, like.node, expr.left.span);
  const b = toNode(env, right, like.node, expr.right.span);
  if (a === null || b === null) return ERROR;
  const made = addNode({ ...env, word: expr.op }, op, [a, b], {}, expr.span);
  return routed !== null && made.kind === "tensor" ? ({ ...routed, node: made.node } satisfies RoutedValue) : made;
}

/** A value as an operand beside `like`: numbers become constants of its dtype. Reports what cannot be one. */
export function toNode(env: Env, value: Value, like: Node | null, span: Span): Node | null {
  switch (value.kind) {
    case "tensor":
    case "routed":
      return value.node;
    case "number":
    case "axis": {
      const counted = env.ctx.mode === "build" ? countNode(env, dimOf(value), like?.type.dtype ?? "f32", span) : null;
      if (counted !== null) return counted;
      const number = toNumber(value);
      const dtype = like?.type.dtype === "bool" || like === null ? "f32" : like.type.dtype;
      if (Math.abs(number) > LIMITS.f32 && Number.isFinite(number) && dtype === "f32") {
        report(
          env,
          "type/constant",
          `${number} is not a value of f32`,
          span,
          "this number",
          `f32 holds up to ${LIMITS.f32.toPrecision(8)}`,
        );
        return null;
      }
      if (dtype !== "f32" && !Number.isInteger(number)) {
        report(
          env,
          "type/dtype-mismatch",
          `${number} is not an integer, but the other side is ${dtype}`,
          span,
          "this number",
          "cast the other side with `f32(...)`",
        );
        return null;
      }
      const made = addNode(env, "constant", [], { value: number, dtype }, span);
      return made.kind === "tensor" ? made.node : null;
    }
    case "bool":
      return env.ctx.builder.must("constant", [], { value: value.value ? 1 : 0, dtype: "bool" }, span);
    case "error":
      return null;
    default:
      report(
        env,
        "type/not-a-tensor",
        `a tensor is needed here, not ${describeValue(value)}`,
        span,
        `this is ${describeValue(value)}`,
        value.kind === "layer" ? `apply it: \`${textOf(span)}(x)\`` : null,
      );
      return null;
  }
}

/** A size that the number of tokens decides is known to the step alone: in the graph tokens are a sum of ones. Null for all others. */
function countNode(env: Env, size: Dim | null, dtype: DType, span: Span): Node | null {
  const b = env.ctx.builder;
  const value = (dim: Dim): Node | null =>
    dim.terms.reduce<Node | null>((sum, { num, den, powers }) => {
      let product: Node | null = b.constant(num / den);
      for (const [symbol, power] of powers) {
        const factor = symbolValue(symbol);
        for (let i = 0; i < power; i++) product = product && factor && b.times(product, factor);
      }
      return sum && product && b.plus(sum, product);
    }, b.constant(0));
  const symbolValue = (symbol: string): Node | null => {
    if (symbol === TIME) {
      const time = { name: TIME, size: Dim.of(TIME), origin: null };
      // Integers, so that it is another node than what means divide by: it looks ahead where the size is written.
      const ones = b.must("broadcast", [b.constant(1, "u32")], { axes: [time] }, span);
      const count = addNode(env, "sum", [ones], { axes: [TIME] }, span);
      return count.kind === "tensor" ? b.cast(count.node, "f32") : null;
    }
    const rounded = Dim.roundedSymbol(symbol);
    if (rounded === null) return null;
    // Over a common denominator d, half a step of 1/d keeps a device's division from rounding a whole number up or down.
    const d = rounded.of.terms.reduce((product, { den }) => product * den, 1);
    const whole = value(rounded.of.times(Dim.of(d)));
    return whole && b.floor(b.over(b.plus(whole, rounded.rounding === "ceil" ? d - 0.5 : 0.5), d));
  };
  if (size === null || size.value !== null) return null;
  const found = value(size);
  return found && (dtype === "bool" ? found : b.cast(found, dtype));
}

/** The number of a compile-time value. A symbolic size counts as 1: only definitions on their own have those, and their numbers are thrown away. */
export function toNumber(value: Extract<Value, { kind: "number" | "axis" }>): number {
  return value.kind === "number" ? value.value : (value.size.value ?? 1);
}

function staticOperation(env: Env, expr: BinaryExpr, left: Value, right: Value): Value {
  const { op } = expr;
  if (op === "and" || op === "or" || op === "=>") {
    if (left.kind === "bool" && right.kind === "bool")
      return {
        kind: "bool",
        value:
          op === "and"
            ? left.value && right.value
            : op === "or"
              ? left.value || right.value
              : !left.value || right.value,
      };
    const wrong = left.kind === "bool" ? expr.right : expr.left;
    return report(
      env,
      "type/bad-operand",
      `\`${op}\` needs two conditions`,
      wrong.span,
      `this is ${describeValue(left.kind === "bool" ? right : left)}`,
      "compare it with something, such as `x > 0`",
    );
  }
  const a = toSize(left);
  const b = toSize(right);
  if (op === "==" || op === "!=") {
    if (a !== null && b !== null) return { kind: "bool", value: compareSizes(op, a.size, b.size) };
    return { kind: "bool", value: sameConstant(left, right) === (op === "==") };
  }
  if (a !== null && b?.size.value === 0 && (op === "/" || op === "%")) return dividesByZero(env, expr, b.origin);
  // Plain numbers are no sizes: they divide as numbers, and stay whole where they can.
  const plain = left.kind === "number" && right.kind === "number";
  if (a !== null && b !== null && !plain) return sizeOperation(env, expr, a.size, b.size);
  if ((left.kind === "number" || left.kind === "axis") && (right.kind === "number" || right.kind === "axis")) {
    const open = [left, right].some((v) => (v.kind === "axis" ? v.size.value === null : v.open === true));
    if (open && ["<", "<=", ">", ">="].includes(op)) return { kind: "bool", value: true };
    const result = numberOperation(env, expr, toNumber(left), toNumber(right), a !== null && b !== null);
    if (!open || result.kind !== "number") return finite(env, result, expr.span);
    const dim = exactly(op, dimOf(left), dimOf(right));
    return dim === null ? { ...result, open } : { ...result, open, dim };
  }
  return report(
    env,
    "type/bad-operand",
    `\`${op}\` does not apply to ${describeValue(left)} and ${describeValue(right)}`,
    expr.span,
    "in this expression",
  );
}

/** A number as an exact size, with fractions. */
export function dimOf(value: Value): Dim | null {
  if (value.kind === "axis") return value.size;
  if (value.kind !== "number") return null;
  return value.open === true ? (value.dim ?? null) : Dim.decimal(value.value);
}

function exactly(op: string, a: Dim | null, b: Dim | null): Dim | null {
  if (a === null || b === null) return null;
  switch (op) {
    case "+":
      return a.plus(b);
    case "-":
      return a.minus(b);
    case "*":
      return a.times(b);
    case "/":
      return a.over(b);
    default:
      return null;
  }
}

/** Equality of compile-time values: sizes by value, whatever axis they label. */
export function sameConstant(a: Value, b: Value): boolean {
  if (a.kind === "list" && b.kind === "list")
    return a.items.length === b.items.length && a.items.every((x, i) => sameConstant(x, b.items[i]!));
  const [x, y] = [toSize(a), toSize(b)];
  if (x !== null && y !== null) return compareSizes("==", x.size, y.size);
  if (a.kind !== b.kind) return false;
  if ("value" in a && "value" in b) return a.value === b.value;
  return a.kind === "none";
}

function dividesByZero(env: Env, expr: BinaryExpr, origin: Span | null): Value {
  return report(
    env,
    "type/division-by-zero",
    `\`${expr.op}\` divides by zero`,
    expr.right.span,
    "this is 0",
    "divide by something that is at least 1, and say so with a `where` clause",
    origin === null || origin === expr.right.span ? [] : [{ span: origin, text: "0 comes from here" }],
  );
}

/** Products of sums grow with every factor, and what `%` leaves is kept as it is written. */
const LONGEST_SIZE = 2000;

function sizeOperation(env: Env, expr: BinaryExpr, a: Dim, b: Dim): Value {
  const size = (d: Dim): Value =>
    d.terms.length > LIMITS.terms || d.key.length > LONGEST_SIZE
      ? report(
          env,
          "shape/too-large",
          `this size is a sum of ${d.terms.length} terms, too long to compare with others`,
          expr.span,
          `at most ${LIMITS.terms} terms, and ${LONGEST_SIZE} characters`,
          "make it a parameter of the layer, and state what it has to be with `where`",
        )
      : finite(env, { kind: "axis", label: null, size: d, origin: expr.span }, expr.span);
  const [x, y] = [a.value, b.value];
  switch (expr.op) {
    case "+":
      return size(a.plus(b));
    case "-":
      return size(a.minus(b));
    case "*":
      return size(a.times(b));
    case "/": {
      const known = x !== null && y !== null;
      const q = a.over(b) ?? (known ? null : Dim.of(`(${a.key})/(${b.key})`));
      if (q !== null && (q.value === null || Number.isInteger(q.value))) return size(q);
      return report(
        env,
        "shape/not-divisible",
        `${a.key} is not divisible by ${b.key}`,
        expr.span,
        "sizes divide exactly",
        "add a `where` clause such as `where D % G == 0` to say what is needed, or change the size",
      );
    }
    case "%":
      return size(x === null || y === null ? Dim.of(`(${a.key})%(${b.key})`) : Dim.of(((x % y) + y) % y));
    default:
      return { kind: "bool", value: compareSizes(expr.op, a, b) };
  }
}

/** What symbolic sizes leave open is assumed: a definition is not wrong because its sizes are not known yet. */
function compareSizes(op: string, a: Dim, b: Dim): boolean {
  const difference = a.minus(b).value;
  if (difference === null) return true;
  switch (op) {
    case "==":
      return difference === 0;
    case "!=":
      return difference !== 0;
    case "<":
      return difference < 0;
    case "<=":
      return difference <= 0;
    case ">":
      return difference > 0;
    default:
      return difference >= 0;
  }
}

function numberOperation(env: Env, expr: BinaryExpr, a: number, b: number, whole: boolean): Value {
  const number = (value: number): Value => ({ kind: "number", value, float: !(whole && Number.isInteger(value)) });
  switch (expr.op) {
    case "+":
      return number(a + b);
    case "-":
      return number(a - b);
    case "*":
      return number(a * b);
    case "/":
      return number(a / b);
    case "%":
      return number(a - b * Math.floor(a / b));
    case "<":
      return { kind: "bool", value: a < b };
    case "<=":
      return { kind: "bool", value: a <= b };
    case ">":
      return { kind: "bool", value: a > b };
    case ">=":
      return { kind: "bool", value: a >= b };
    default:
      return report(
        env,
        "type/bad-operand",
        `\`${expr.op}\` does not apply to numbers`,
        expr.span,
        "in this expression",
      );
  }
}
