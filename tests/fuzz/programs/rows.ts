/**
 * How ops of the table come into a random program: their operands from the pool, their attributes drawn. An op that has no row here comes
 * by the samples of its own (`sample-row.ts`). A row gives null where it found nothing that fits.
 */
import type { OpName } from "../../../compiler/graph/attrs.ts";
import { Dim } from "../../../compiler/graph/dim.ts";
import type { Node } from "../../../compiler/graph/node.ts";
import type { Axis, DType } from "../../../compiler/graph/type.ts";
import { TIME, hasAxis } from "../../../compiler/graph/type.ts";
import { callRow } from "./call.ts";
import { type Grower, timeAxis } from "./grow.ts";
import { nonzero, positive, tamed } from "./operands.ts";
import { attendRow, delayRow, deltaRow, scanRow } from "./time-rows.ts";

export type Row = (g: Grower) => Node | null;

export const rows = {
  input: (g) => {
    const own = g.axis();
    const axes = g.draw.of([[timeAxis, own], [timeAxis, own], [timeAxis], [own], [own, timeAxis]]);
    // Of what a sequence has once, floats.
    return g.input(axes, axes.includes(timeAxis) && g.draw.next() < 0.3 ? "u32" : "f32");
  },
  param: (g) => {
    const first = g.axis();
    return kept(g, g.param(g.draw.next() < 0.4 ? [first] : [first, g.axis([first])]));
  },
  constant: (g) => {
    const dtype = g.draw.of<DType>(["f32", "f32", "u32", "i32", "bool"]);
    const value = { f32: [0.5, -1, 2, 0.1, 0, 1], u32: [0, 1, 2, 3], i32: [-2, -1, 0, 3], bool: [0, 1] }[dtype];
    return g.make("constant", [], { value: g.draw.of(value), dtype });
  },
  iota: (g) => g.make("iota", [], { axis: g.shared.whole && g.draw.next() < 0.3 ? timeAxis : g.axis() }),
  position: (g) => g.make("position", [], { axis: timeAxis }),
  /** Made by the compiler alone, where a step has several sequences; the oracle runs one. */
  sequence: () => null,
  length: (g) => g.make("length", [], { axis: timeAxis }),
  values: (g) => {
    const axis = g.axis();
    const values = Array.from({ length: axis.size.value! }, () => (g.draw.below(65) - 32) / 16);
    return g.make("values", [], { axis, values });
  },

  neg: (g) => unary(g, "neg", ["f32", "i32"]),
  exp: (g) => map(g, "exp", [tamed(g, g.float(), 12)]),
  log: (g) => map(g, "log", [positive(g, g.float())]),
  sqrt: (g) => map(g, "sqrt", [positive(g, g.float())]),
  rsqrt: (g) => map(g, "rsqrt", [positive(g, g.float())]),
  sin: (g) => map(g, "sin", [tamed(g, g.float(), 60)]),
  cos: (g) => map(g, "cos", [tamed(g, g.float(), 60)]),
  tanh: (g) => unary(g, "tanh", ["f32"]),
  erf: (g) => unary(g, "erf", ["f32"]),
  sigmoid: (g) => unary(g, "sigmoid", ["f32"]),
  abs: (g) => unary(g, "abs", ["f32", "i32"]),
  sign: (g) => unary(g, "sign", ["f32", "i32"]),
  floor: (g) => unary(g, "floor", ["f32"]),
  not: (g) => unary(g, "not", ["bool"]),
  hash: (g) => unary(g, "hash", ["u32"]),
  cast: (g) => {
    const x = g.pick(() => true);
    return x === null ? null : g.make("cast", [x], { to: g.draw.of<DType>(["f32", "f32", "u32", "i32", "bool"]) });
  },
  detach: (g) => (g.layer === null ? map(g, "detach", [g.float()]) : null),

  add: (g) => binary(g, "add"),
  sub: (g) => binary(g, "sub"),
  mul: (g) => binary(g, "mul"),
  div: (g) => binary(g, "div"),
  mod: (g) => binary(g, "mod"),
  pow: (g) => {
    const whole = g.draw.next() < 0.3;
    const some = tamed(g, g.float(), 20);
    const base = whole ? some : positive(g, some);
    const exponent = whole
      ? g.constant(g.draw.of([0, 1, 2, 3, 4, 5]))
      : g.draw.next() < 0.5
        ? g.constant(g.draw.of([2, 0.5, -1, 3, -0.5, 1, 0]))
        : tamed(g, g.float(), 3);
    return map(g, "pow", [base, exponent]);
  },
  max: (g) => binary(g, "max"),
  min: (g) => binary(g, "min"),
  eq: (g) => compared(g, "eq"),
  ne: (g) => compared(g, "ne"),
  lt: (g) => compared(g, "lt"),
  le: (g) => compared(g, "le"),
  gt: (g) => compared(g, "gt"),
  ge: (g) => compared(g, "ge"),
  and: (g) => logic(g, "and"),
  or: (g) => logic(g, "or"),
  select: (g) => {
    const condition = g.of("bool");
    const [a, b] = pair(g, ["f32", "f32", "u32", "i32", "bool"]);
    return condition === null || b === null ? null : g.make("select", [condition, a, b], {});
  },

  sum: (g) => reduced(g, "sum"),
  reduce_max: (g) => reduced(g, "reduce_max"),
  reduce_min: (g) => reduced(g, "reduce_min"),
  pool: (g) =>
    g.make("pool", [g.float()], { scope: "batch", reduce: g.draw.of(["sum", "max", "min"] as const), buffer: null }),

  rename: (g) =>
    viewed(g, (x, axis) => g.make("rename", [x], { from: axis.name, to: g.labelled(axis.size, x.type.axes).name })),
  split: (g) =>
    viewed(g, (x, axis) => {
      const [n, others] = [axis.size.value, x.type.axes.filter((a) => a !== axis)];
      const parts = n === null ? [] : Array.from({ length: n }, (_, i) => i + 1).filter((d) => n % d === 0);
      if (n === null || parts.length === 0) return null;
      const outer = g.draw.of(parts);
      const first = g.labelled(Dim.of(outer), others);
      const second = g.labelled(Dim.of(n / outer), [...others, first]);
      return g.make("split", [x], { axis: axis.name, into: [first, second] });
    }),
  merge: (g) =>
    viewed(g, (x, axis) => {
      const other = g.axisOf(x, (a) => a.name !== axis.name);
      if (other === null) return null;
      const to = g.labelled(axis.size.times(other.size), x.type.axes);
      return g.make("merge", [x], { axes: [axis.name, other.name], to });
    }),
  slice: (g) =>
    viewed(g, (x, axis) => {
      const n = axis.size.value;
      // Along time up to the last position but one, so that sequences may be of any length.
      if (n === null) return sliceLong(g, x, axis);
      const size = 1 + g.draw.below(n);
      const to = g.labelled(
        Dim.of(size),
        x.type.axes.filter((a) => a !== axis),
      );
      return g.make("slice", [x], { axis: axis.name, start: g.draw.below(n - size + 1), to });
    }),
  roll: (g) => viewed(g, (x, axis) => g.make("roll", [x], { axis: axis.name, by: g.draw.below(9) - 4 })),
  broadcast: (g) => {
    const x = g.pick((n) => n.type.axes.length < 4);
    if (x === null) return null;
    const first = !hasAxis(x.type, TIME) && g.draw.next() < 0.4 ? timeAxis : g.axis(x.type.axes);
    const more = g.draw.next() < 0.3 ? [g.axis([...x.type.axes, first])] : [];
    return g.make("broadcast", [x], { axes: [first, ...more] });
  },
  transpose: (g) => {
    const x = g.pick((n) => n.type.axes.length > 1);
    const order = x?.type.axes.map((a) => a.name) ?? [];
    const turned = order.map((name) => [g.draw.next(), name] as const).sort(([a], [b]) => a - b);
    return x === null ? null : g.make("transpose", [x], { order: turned.map(([, name]) => name) });
  },
  concat: (g) => {
    const x = g.pick((n) => g.axisOf(n) !== null);
    const axis = x === null ? null : g.axisOf(x);
    if (x === null || axis === null) return null;
    const fits = (n: Node): boolean =>
      n.type.dtype === x.type.dtype && hasAxis(n.type, axis.name) && n.type.axes.every((a) => hasAxis(x.type, a.name));
    const parts = Array.from({ length: 1 + g.draw.below(2) }, () => g.pick(fits) ?? x);
    const all = g.draw.next() < 0.5 ? [x, ...parts] : [...parts, x];
    const size = all.reduce((sum, n) => sum.plus(n.type.axes.find((a) => a.name === axis.name)!.size), Dim.of(0));
    const others = all.flatMap((n) => n.type.axes.filter((a) => a.name !== axis.name));
    return g.make("concat", all, { axis: axis.name, to: g.labelled(size, others) });
  },

  dot: (g) => {
    const x = g.draw.next() < 0.5 ? g.tokens() : g.float();
    const axis = g.axisOf(x);
    if (axis === null) return null;
    const shares = (n: Node): boolean => n.type.dtype === "f32" && hasAxis(n.type, axis.name);
    const y = (g.draw.next() < 0.35 ? g.pick(shares) : null) ?? weightFor(g, x, axis);
    if (y === null) return null;
    const both = x.type.axes.filter((a) => hasAxis(y.type, a.name) && (g.shared.whole || a.name !== TIME));
    const axes = both.filter((a) => a.name === axis.name || g.draw.next() < 0.3).map((a) => a.name);
    return g.make("dot", g.draw.next() < 0.8 ? [x, y] : [y, x], { axes });
  },
  take: (g) => {
    const index = g.of("u32");
    if (index === null) return null;
    const fits = (a: Axis): boolean => a.size.value !== null && !hasAxis(index.type, a.name);
    const x = g.pick((n) => g.axisOf(n, fits) !== null);
    if (x === null) return null;
    const axis = g.axisOf(x, fits)!;
    return g.make("take", [x, g.index(index, axis.size.value!)], { axis: axis.name });
  },
  topk: (g) =>
    viewed(
      g,
      (x, axis) => {
        const { value } = axis.size;
        const half = Dim.round("ceil", axis.size.over(Dim.of(2))!);
        const size = value === null ? half : Dim.of(1 + g.draw.below(value));
        const k = g.labelled(size, x.type.axes);
        return g.make("topk", [x], { axis: axis.name, k, part: g.draw.of(["values", "indices", "ranks"] as const) });
      },
      ["f32"],
    ),
  cumsum: (g) => {
    const x = g.draw.next() < 0.5 ? g.tokens() : g.pick((n) => n.type.dtype !== "bool" && n.type.axes.length > 0);
    if (x === null) return null;
    // Along time in every program: it has a step form.
    return g.make("cumsum", [x], { axis: g.draw.of(x.type.axes).name, exclusive: g.draw.next() < 0.5 });
  },
  attend: attendRow,
  delay: delayRow,
  scan: scanRow,
  delta_rule: deltaRow,
  call: callRow,
} satisfies { readonly [O in OpName]?: Row };

function kept(g: Grower, node: Node): Node {
  g.pool.push(node);
  return node;
}

type Plain =
  | ("neg" | "exp" | "log" | "sqrt" | "rsqrt" | "sin" | "cos" | "tanh" | "erf" | "sigmoid")
  | ("abs" | "sign" | "floor" | "not" | "hash" | "detach" | "pow" | "eq" | "ne" | "lt" | "le" | "gt" | "ge")
  | ("add" | "sub" | "mul" | "div" | "mod" | "max" | "min" | "and" | "or");

function map(g: Grower, op: Plain, inputs: readonly Node[]): Node | null {
  return g.make(op, inputs, {});
}

function unary(g: Grower, op: Plain, takes: readonly DType[]): Node | null {
  const x = g.of(g.draw.of(takes)) ?? (takes.includes("f32") ? g.float() : null);
  return x === null ? null : map(g, op, [x]);
}

/** Two of the same dtype that may meet: the second, rather, has no axes that the first lacks. */
function pair(g: Grower, takes: readonly DType[]): readonly [Node, Node | null] {
  const a = g.of(g.draw.of(takes)) ?? g.float();
  const isSame = (n: Node): boolean => n.type.dtype === a.type.dtype;
  const inside = (n: Node): boolean => isSame(n) && n.type.axes.every((x) => hasAxis(a.type, x.name));
  const b = g.pick(g.draw.next() < 0.8 ? inside : isSame);
  return g.draw.next() < 0.7 || b === null ? [a, b] : [b, a];
}

function binary(g: Grower, op: "add" | "sub" | "mul" | "div" | "mod" | "max" | "min"): Node | null {
  const [a, b] = pair(g, ["f32", "f32", "f32", "u32", "i32"]);
  if (b === null) return null;
  return map(g, op, [a, op === "div" || op === "mod" ? nonzero(g, b) : b]);
}

function compared(g: Grower, op: "eq" | "ne" | "lt" | "le" | "gt" | "ge"): Node | null {
  const [a, b] = pair(g, ["f32", "f32", "u32", "i32", ...(op === "eq" || op === "ne" ? (["bool"] as const) : [])]);
  return b === null ? null : map(g, op, [a, b]);
}

function logic(g: Grower, op: "and" | "or"): Node | null {
  const [a, b] = [g.of("bool"), g.of("bool")];
  return a === null || b === null ? null : map(g, op, [a, b]);
}

function reduced(g: Grower, op: "sum" | "reduce_max" | "reduce_min"): Node | null {
  const x = g.pick((n) => n.type.dtype !== "bool" && g.axisOf(n) !== null);
  const first = x === null ? null : g.axisOf(x);
  if (x === null || first === null) return null;
  const more = g.draw.next() < 0.3 ? g.axisOf(x, (a) => a.name !== first.name) : null;
  return g.make(op, [x], { axes: [first.name, ...(more === null ? [] : [more.name])] });
}

function viewed(
  g: Grower,
  make: (x: Node, axis: Axis) => Node | null,
  dtypes: readonly DType[] = ["f32", "u32", "i32", "bool"],
  isRight: (axis: Axis) => boolean = () => true,
): Node | null {
  const x = g.pick((n) => dtypes.includes(n.type.dtype) && g.axisOf(n, isRight) !== null);
  return x === null ? null : make(x, g.axisOf(x, isRight)!);
}

/** All of an axis as long as the sequence but its first or its last element. */
function sliceLong(g: Grower, x: Node, axis: Axis): Node | null {
  if (!axis.size.equals(Dim.of(TIME))) return null;
  const to = g.labelled(
    axis.size.minus(Dim.of(1)),
    x.type.axes.filter((a) => a !== axis),
  );
  return g.make("slice", [x], { axis: axis.name, start: g.draw.below(2), to });
}

/** A parameter to contract with along an axis: a matrix, a bank of them, or one with an axis that x has too. */
function weightFor(g: Grower, x: Node, axis: Axis): Node | null {
  if (axis.size.value === null) return null;
  const out = g.axis(x.type.axes);
  const shared = x.type.axes.filter((a) => a !== axis && a.size.value !== null);
  const draw = g.draw.next();
  const more =
    draw < 0.2 ? [g.axis([...x.type.axes, out])] : draw < 0.4 && shared.length > 0 ? [g.draw.of(shared)] : [];
  const axes = [...more, out, axis];
  return kept(g, g.param(g.draw.next() < 0.7 ? axes : axes.toReversed()));
}
