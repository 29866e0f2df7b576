/** Nodes by short names, over whatever makes them: what gradient rules and passes are written with. */
import type { Span } from "../../grammar/span.ts";
import type { Attrs, OpName } from "../graph/attrs.ts";
import type { Node } from "../graph/node.ts";
import type { Axis, DType } from "../graph/type.ts";
import { findAxis } from "../graph/type.ts";
import type { Mismatch } from "./mismatch.ts";
import { isMismatch } from "./mismatch.ts";

/** A node, or a number that becomes a constant of the other operand's dtype. */
export type Operand = Node | number;

export abstract class Shorthands {
  /** A node of the type that its op's row infers, or why there is none. */
  abstract add<O extends OpName>(
    op: O,
    inputs: readonly Node[],
    attrs: Attrs[O],
    origin?: Span | null,
  ): Node<O> | Mismatch;

  /** Throws on a mismatch: for passes, where one is a bug. */
  must<O extends OpName>(op: O, inputs: readonly Node[], attrs: Attrs[O], origin: Span | null = null): Node<O> {
    const node = this.add(op, inputs, attrs, origin);
    if (isMismatch(node)) throw new Error(`${op}: ${node.message} (${node.code})`);
    return node;
  }

  constant(value: number, dtype: DType = "f32"): Node {
    return this.must("constant", [], { value, dtype });
  }

  iota(axis: Axis): Node {
    return this.must("iota", [], { axis });
  }

  // Maps of one operand.
  neg(x: Node): Node {
    return this.must("neg", [x], {});
  }
  exp(x: Node): Node {
    return this.must("exp", [x], {});
  }
  log(x: Node): Node {
    return this.must("log", [x], {});
  }
  sqrt(x: Node): Node {
    return this.must("sqrt", [x], {});
  }
  sin(x: Node): Node {
    return this.must("sin", [x], {});
  }
  cos(x: Node): Node {
    return this.must("cos", [x], {});
  }
  tanh(x: Node): Node {
    return this.must("tanh", [x], {});
  }
  sign(x: Node): Node {
    return this.must("sign", [x], {});
  }
  floor(x: Node): Node {
    return this.must("floor", [x], {});
  }
  cast(x: Node, to: DType): Node {
    return x.type.dtype === to ? x : this.must("cast", [x], { to });
  }

  // Maps of two operands.
  plus(a: Operand, b: Operand): Node {
    return this.#pair("add", a, b);
  }
  minus(a: Operand, b: Operand): Node {
    return this.#pair("sub", a, b);
  }
  times(a: Operand, b: Operand): Node {
    return this.#pair("mul", a, b);
  }
  over(a: Operand, b: Operand): Node {
    return this.#pair("div", a, b);
  }
  pow(a: Operand, b: Operand): Node {
    return this.#pair("pow", a, b);
  }
  max(a: Operand, b: Operand): Node {
    return this.#pair("max", a, b);
  }
  min(a: Operand, b: Operand): Node {
    return this.#pair("min", a, b);
  }
  eq(a: Operand, b: Operand): Node {
    return this.#pair("eq", a, b);
  }
  lt(a: Operand, b: Operand): Node {
    return this.#pair("lt", a, b);
  }
  le(a: Operand, b: Operand): Node {
    return this.#pair("le", a, b);
  }
  gt(a: Operand, b: Operand): Node {
    return this.#pair("gt", a, b);
  }
  ge(a: Operand, b: Operand): Node {
    return this.#pair("ge", a, b);
  }
  and(a: Node, b: Node): Node {
    return this.must("and", [a, b], {});
  }

  /** `then` where the condition holds. */
  select(condition: Node, then: Operand, otherwise: Operand): Node {
    const [a, b] = this.#pairOf(then, otherwise);
    return this.must("select", [condition, a, b], {});
  }

  // Reductions and contractions; over no axes they are the identity and the product.
  sum(x: Node, axes: readonly string[]): Node {
    return axes.length === 0 ? x : this.must("sum", [x], { axes });
  }

  reduceMax(x: Node, axes: readonly string[]): Node {
    return axes.length === 0 ? x : this.must("reduce_max", [x], { axes });
  }

  dot(a: Node, b: Node, axes: readonly string[]): Node {
    return axes.length === 0 ? this.times(a, b) : this.must("dot", [a, b], { axes });
  }

  // Views.
  rename(x: Node, from: string, to: string): Node {
    return from === to ? x : this.must("rename", [x], { from, to });
  }

  split(x: Node, axis: string, into: readonly Axis[]): Node {
    return this.must("split", [x], { axis, into });
  }

  merge(x: Node, axes: readonly string[], to: Axis): Node {
    return this.must("merge", [x], { axes, to });
  }

  slice(x: Node, axis: string, start: number, to: Axis): Node {
    return start === 0 && findAxis(x.type, axis)?.size.equals(to.size) === true
      ? this.rename(x, axis, to.name)
      : this.must("slice", [x], { axis, start, to });
  }

  roll(x: Node, axis: string, by: number): Node {
    return by === 0 ? x : this.must("roll", [x], { axis, by });
  }

  broadcast(x: Node, axes: readonly Axis[]): Node {
    return axes.length === 0 ? x : this.must("broadcast", [x], { axes });
  }

  transpose(x: Node, order: readonly string[]): Node {
    return x.type.axes.every((a, i) => a.name === order[i]) ? x : this.must("transpose", [x], { order });
  }

  concat(parts: readonly Node[], axis: string, to: Axis): Node {
    return this.must("concat", parts, { axis, to });
  }

  take(x: Node, index: Node, axis: string): Node {
    return this.must("take", [x, index], { axis });
  }

  spread(x: Node, index: Node, axis: Axis, over: readonly string[]): Node {
    return this.must("spread", [x, index], { axis, over });
  }

  delay(x: Node, by: number): Node {
    return by === 0 ? x : this.must("delay", [x], { by, state: null });
  }

  cumsum(x: Node, axis: string, exclusive: boolean): Node {
    return this.must("cumsum", [x], { axis, exclusive });
  }

  #pair<O extends Binary>(op: O, a: Operand, b: Operand): Node {
    return this.must(op, this.#pairOf(a, b), {} as Attrs[O]);
  }

  #pairOf(a: Operand, b: Operand): readonly [Node, Node] {
    const dtype = typeof a !== "number" ? a.type.dtype : typeof b !== "number" ? b.type.dtype : "f32";
    const node = (x: Operand): Node => (typeof x === "number" ? this.constant(x, dtype) : x);
    return [node(a), node(b)];
  }
}

type Binary = "add" | "sub" | "mul" | "div" | "pow" | "max" | "min" | "eq" | "lt" | "le" | "gt" | "ge";
