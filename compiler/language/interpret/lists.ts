/** Builtins over lists that are known when a model is compiled: of a configuration, of layers. */
import { LIMITS } from "../../../grammar/limits.ts";
import { sameConstant, toNumber } from "./arithmetic.ts";
import { spend } from "./bounds.ts";
import { report } from "./context.ts";
import type { Given } from "./given.ts";
import type { Value } from "./value.ts";
import { describeValue } from "./value.ts";

/** Whether a list of a configuration has an entry; `none` has no entries. */
export function contains(g: Given): Value {
  const [list, item, ...more] = g.positional.map((p) => p.value);
  if (list === undefined || item === undefined || more.length > 0 || (list.kind !== "list" && list.kind !== "none"))
    return report(
      g.env,
      "type/bad-operand",
      "`contains` takes a list and what may be in it",
      g.span,
      list === undefined ? "nothing given" : `the first argument is ${describeValue(list)}`,
      "write `contains(layers, l)`",
    );
  if (list.kind === "list") spend(g.env.ctx, g.span, list.items.length);
  return { kind: "bool", value: list.kind === "list" && list.items.some((x) => sameConstant(x, item)) };
}

/** `range(0, L, 2)`: numbers from the first up to the second, which is not among them, by steps of the third or of 1. */
export function range(g: Given): Value {
  const values = g.positional.map((p) => p.value);
  const numbers = values.flatMap((v) => (v.kind === "number" || v.kind === "axis" ? [toNumber(v)] : []));
  const [start, end, step = 1] = numbers;
  if (start === undefined || end === undefined || numbers.length !== values.length || numbers.length > 3 || !(step > 0))
    return report(
      g.env,
      "type/bad-operand",
      "`range` takes two numbers and perhaps a step",
      g.span,
      `${values.length} given`,
      "write `range(0, L)` or `range(0, L, 2)`",
    );
  const count = Math.max(0, Math.ceil((end - start) / step));
  if (!(count <= LIMITS.list))
    return report(
      g.env,
      "shape/too-large",
      `\`range\` would give a list of ${count} numbers, and a list has at most ${LIMITS.list}`,
      g.span,
      `from ${start} to ${end} by ${step}`,
      "count with an axis instead: `iota[N]()`",
    );
  return {
    kind: "list",
    items: Array.from({ length: count }, (_, i) => ({ kind: "number", value: start + i * step, float: false })),
  };
}

/** `without(a, b)`: the entries of a that b has not. */
export function without(g: Given): Value {
  const [all, others, ...more] = g.positional.map((p) => p.value);
  if (all?.kind !== "list" || others?.kind !== "list" || more.length > 0)
    return report(
      g.env,
      "type/bad-operand",
      "`without` takes two lists",
      g.span,
      all?.kind === "list" && others !== undefined ? `the second argument is ${describeValue(others)}` : "used here",
      "write `without(range(0, L), layers)`",
    );
  spend(g.env.ctx, g.span, all.items.length * others.items.length);
  return { kind: "list", items: all.items.filter((x) => !others.items.some((y) => sameConstant(x, y))) };
}
