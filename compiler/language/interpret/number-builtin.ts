/** Functions of numbers: of those known when a model is compiled, of sizes, and element by element of tensors. */
import { textOf } from "../../../grammar/span.ts";
import { Dim, type Rounding } from "../../graph/dim.ts";
import type { ScalarFunction, ScalarName } from "../../graph/scalar.ts";
import { scalars } from "../../graph/scalar.ts";
import type { DType } from "../../graph/type.ts";
import { addNode } from "./add-node.ts";
import { dimOf, toNumber } from "./arithmetic.ts";
import { finite } from "./bounds.ts";
import { report } from "./context.ts";
import type { Given } from "./given.ts";
import { withNodes } from "./given.ts";
import type { Value } from "./value.ts";
import { describeValue } from "./value.ts";

export function unary(g: Given, op: ScalarName): Value {
  const [only] = g.positional;
  const fn: ScalarFunction = scalars[op];
  if (only !== undefined && (only.value.kind === "number" || only.value.kind === "axis") && fn.bits !== true) {
    if (op === "floor") return round(g, "floor");
    return known(g, fn.value(toNumber(only.value), 0, "f32"), [only.value]);
  }
  return withNodes(g, 1, ([x]) => addNode(g.env, op, [x!], {}, g.span));
}

/** The result of a function of numbers; open where it was computed from a size that is not known yet. */
function known(g: Given, value: number, from: readonly Value[]): Value {
  const open = from.some((v) => (v.kind === "axis" ? v.size.value === null : v.kind === "number" && v.open === true));
  return finite(g.env, { kind: "number", value, float: true, ...(open ? { open } : {}) }, g.span);
}

/** Whole numbers are sizes; of a size that is not known yet the rounding is put off. */
export function round(g: Given, rounding: Rounding): Value {
  const [only] = g.positional;
  const { value } = only ?? {};
  if (only === undefined || value === undefined || (value.kind !== "number" && value.kind !== "axis"))
    return report(
      g.env,
      "type/bad-operand",
      `\`${rounding}\` rounds a number that is known when the model is compiled, or a size`,
      g.span,
      value === undefined ? "nothing given" : `this is ${describeValue(value)}`,
      rounding === "ceil" ? "of a tensor write `-floor(-x)`" : null,
    );
  const size = dimOf(value);
  const isOpen = value.kind === "axis" ? value.size.value === null : value.open === true;
  if (!isOpen) return finite(g.env, { kind: "number", value: Math[rounding](toNumber(value)), float: false }, g.span);
  const rounded = size === null ? Dim.of(`${rounding}(${textOf(only.span)})`) : Dim.round(rounding, size);
  return { kind: "axis", label: null, size: rounded, origin: g.span };
}

export function binary(g: Given, op: ScalarName): Value {
  const [a, b] = g.positional.map((p) => p.value);
  if (
    a !== undefined &&
    b !== undefined &&
    (a.kind === "number" || a.kind === "axis") &&
    (b.kind === "number" || b.kind === "axis")
  ) {
    const [x, y] = [toNumber(a), toNumber(b)];
    const value = scalars[op].value(x, y, "f32");
    const exact = op !== "pow" && a.kind !== "number" && b.kind !== "number";
    const open = exact && (a.size.value === null || b.size.value === null);
    return exact
      ? {
          kind: "axis",
          label: null,
          size: Dim.of(open ? `${op}(${a.size.key}, ${b.size.key})` : value),
          origin: g.span,
        }
      : known(g, value, [a, b]);
  }
  return withNodes(g, 2, (nodes) => addNode(g.env, op, nodes, {}, g.span));
}

export function cast(g: Given, to: DType): Value {
  const [only] = g.positional;
  // A number is rounded towards 0 here, as a device would do it with each of its own.
  if (to !== "f32" && only !== undefined && (only.value.kind === "number" || only.value.kind === "axis")) {
    const number = toNumber(only.value);
    if (only.value.kind === "number" || only.value.size.value !== null)
      return addNode(g.env, "constant", [], { value: Math.trunc(number), dtype: to }, g.span);
  }
  return withNodes(g, 1, ([x]) =>
    x!.type.dtype === to ? { kind: "tensor", node: x! } : addNode(g.env, "cast", [x!], { to }, g.span),
  );
}
