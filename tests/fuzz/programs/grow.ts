/**
 * A graph that grows by one op at a time from drawn numbers: a pool of typed nodes, sizes of axes by label, and of every node its value on
 * one sequence, so that numbers stay in a range in which float32 says anything. Labels keep their size in a program.
 */
import { Dim } from "../../../compiler/graph/dim.ts";
import type { Attrs, OpName } from "../../../compiler/graph/attrs.ts";
import { Graph, isOp } from "../../../compiler/graph/node.ts";
import type { GraphFunction, Node, Program } from "../../../compiler/graph/node.ts";
import { bindPath } from "../../../compiler/graph/path.ts";
import type { Axis, DType, TensorType } from "../../../compiler/graph/type.ts";
import { TIME, hasAxis } from "../../../compiler/graph/type.ts";
import { Builder } from "../../../compiler/ops/builder.ts";
import type { OpDef, Value } from "../../../compiler/ops/define.ts";
import { isMismatch } from "../../../compiler/ops/mismatch.ts";
import { ops } from "../../../compiler/ops/table.ts";
import { timeRule } from "../../../compiler/ops/time.ts";
import { evaluateFunction } from "../../../compiler/reference/interpret.ts";
import type { Draw } from "../../support/random-models.ts";
import { type Kind, INDICES, drawValue } from "./values.ts";

/** What one program shares with the functions that it calls. */
export interface Shared {
  readonly b: Builder;
  readonly kind: Kind;
  /** Ops may look at later positions: the program is run on whole sequences. */
  readonly whole: boolean;
  readonly labels: Map<string, Dim>;
  readonly functions: Map<string, GraphFunction>;
  /** Of every node of main and of functions, its value when it was made. */
  readonly values: Map<Node, Value>;
  /** Of nodes u32, a number that all their elements are below, where there is a small one. */
  readonly below: Map<Node, number>;
  readonly T: number;
  /** Adds some steps to a pool. */
  readonly grow: (g: Grower, steps: number) => void;
}

/** More elements than this per node are not made. */
const MOST = 400;
const LARGEST: Readonly<Record<Kind, number>> = { usual: 1e4, ties: 1e4, extreme: 1e8 };
const time: Axis = { name: TIME, size: Dim.of(TIME), origin: null };

/** What a row wanted to make does not fit: it gives up. */
export class Misfit extends Error {}

export class Grower {
  readonly shared: Shared;
  /** Each step has its own. */
  draw: Draw;
  readonly pool: Node[] = [];
  readonly inputs: Node<"input">[] = [];
  /** Null in main, else the template path of the layers that the function is of. */
  readonly layer: string | null;
  #params = 0;

  constructor(shared: Shared, draw: Draw, layer: string | null) {
    this.shared = shared;
    this.draw = draw;
    this.layer = layer;
  }

  get b(): Builder {
    return this.shared.b;
  }

  /** Makes a node; null where its type, its place in time or its values are out of bounds. The pool gets it where `keep` says so. */
  make<O extends OpName>(op: O, inputs: readonly Node[], attrs: Attrs[O], keep = true): Node<O> | null {
    const node = this.b.add(op, inputs, attrs);
    if (isMismatch(node)) return null;
    if (!this.shared.whole && timeRule(node) === "future") return null;
    if (this.#elements(node.type) > MOST * 4) return null;
    const value = this.shared.values.get(node) ?? this.#evaluate(node);
    if (value === null || !this.#fits(node, value)) return null;
    this.shared.values.set(node, value);
    this.#bound(node);
    if (keep && node.type.axes.length <= 6) this.pool.push(node);
    return node;
  }

  /** As `make`, for a row that is lost without it: throws `Misfit`. The pool does not get it. */
  must<O extends OpName>(op: O, inputs: readonly Node[], attrs: Attrs[O]): Node<O> {
    const node = this.make(op, inputs, attrs, false);
    if (node === null) throw new Misfit(op);
    return node;
  }

  /** One of the pool, rather a late one; null where none is right. */
  pick(isRight: (node: Node) => boolean): Node | null {
    const right = this.pool.filter(isRight);
    const back = Math.floor(this.draw.next() ** 2 * right.length);
    return right.at(-1 - back) ?? null;
  }

  float(): Node {
    return this.pick((n) => n.type.dtype === "f32") ?? this.param([this.axis()]);
  }

  /** Float with time and at least one other axis. */
  tokens(): Node {
    const found = this.pick((n) => n.type.dtype === "f32" && hasAxis(n.type, TIME) && n.type.axes.length > 1);
    return found ?? this.must("broadcast", [this.param([this.axis()])], { axes: [time] });
  }

  of(dtype: DType): Node | null {
    return this.pick((n) => n.type.dtype === dtype);
  }

  constant(value: number, dtype: DType = "f32"): Node {
    return this.must("constant", [], { value, dtype });
  }

  param(axes: readonly Axis[]): Node {
    const path = `${this.layer === null ? "" : `${this.layer}.`}w${this.#params++}`;
    return this.must("param", [], { path, type: { dtype: "f32", axes } });
  }

  input(axes: readonly Axis[], dtype: DType): Node | null {
    if (this.layer !== null || this.inputs.length >= 4) return null;
    const node = this.must("input", [], { name: `x${this.inputs.length}`, type: { dtype, axes } });
    this.inputs.push(node);
    this.pool.push(node);
    return node;
  }

  /** An axis that the program has, or a new one; none of `apart`'s. */
  axis(apart: readonly Axis[] = []): Axis {
    const { labels } = this.shared;
    const fixed = [...labels].filter(([name, size]) => size.value !== null && !apart.some((a) => a.name === name));
    if (fixed.length > 0 && this.draw.next() < 0.75) return axisNamed(...this.draw.of(fixed));
    const size = this.draw.of(this.draw.next() < 0.04 ? [33, 70, 130] : [1, 2, 2, 3, 3, 4, 4, 5, 6, 7, 8, 8, 12, 17]);
    return this.labelled(Dim.of(size), apart);
  }

  /** An axis of this size, with a label that the program has for it or a new one; none of `apart`'s. */
  labelled(size: Dim, apart: readonly Axis[]): Axis {
    const { labels } = this.shared;
    const known = [...labels].filter(([name, s]) => s.equals(size) && !apart.some((a) => a.name === name));
    if (known.length > 0 && this.draw.next() < 0.6) return axisNamed(...this.draw.of(known));
    const free = NAMES.filter((name) => !labels.has(name));
    const name = free.length > 0 ? this.draw.of(free) : `X${labels.size}`;
    labels.set(name, size);
    return axisNamed(name, size);
  }

  /** An axis of the node; along time only of whole sequences. */
  axisOf(node: Node, isRight: (axis: Axis) => boolean = () => true): Axis | null {
    const right = node.type.axes.filter((a) => (this.shared.whole || a.name !== TIME) && isRight(a));
    return right.length === 0 ? null : this.draw.of(right);
  }

  /** Values of the largest size, of floats. */
  largest(node: Node): number {
    return this.shared.values.get(node)!.data.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
  }

  value(node: Node): Value {
    return this.shared.values.get(node)!;
  }

  /** Below the size, for `take`: what is known to be, or the remainder. */
  index(node: Node, size: number): Node {
    const below = this.shared.below.get(node);
    if (below !== undefined && below <= size) return node;
    const rest = this.must("mod", [node, this.constant(size, "u32")], {});
    this.shared.below.set(rest, size);
    return rest;
  }

  #elements(type: TensorType): number {
    return type.axes.reduce((n, a) => n * a.size.evaluate({ T: this.shared.T }), 1);
  }

  #evaluate(node: Node): Value | null {
    const { values, functions, T, kind } = this.shared;
    const sizes = { T };
    if (isOp(node, "input")) return drawValue(node.attrs.name, node.type, sizes, kind);
    if (isOp(node, "param"))
      return drawValue(
        this.layer === null ? node.attrs.path : bindPath(node.attrs.path, "blocks[0]"),
        node.type,
        sizes,
        kind,
      );
    if (isOp(node, "call")) {
      const fn = functions.get(node.attrs.fn)!;
      const program: Program = { main: fn, functions };
      const inputs = Object.fromEntries(fn.inputs.map((n, i) => [n.attrs.name, values.get(node.inputs[i]!)!]));
      const types = paramTypes(fn);
      const params = (path: string): Value =>
        drawValue(path, types.get(path.replaceAll(/\[\d+\]/g, "[#]"))!, sizes, kind);
      return evaluateFunction(program, fn, { inputs, params, sizes }, node.attrs.path)[
        fn.outputs[node.attrs.part]!.name
      ]!;
    }
    const row = ops[node.op] as OpDef<typeof node.op>;
    try {
      return row.evaluate(
        node.inputs.map((n) => values.get(n)!),
        node.attrs,
        node.type,
        (dim) => dim.evaluate(sizes),
      );
    } catch (error) {
      if (error instanceof RangeError) return null;
      throw error;
    }
  }

  #fits(node: Node, { data }: Value): boolean {
    const most = node.type.dtype === "f32" ? LARGEST[this.shared.kind] : 2 ** 32;
    return data.length > 0 && data.every((x) => Math.abs(x) <= most);
  }

  #bound(node: Node): void {
    const { below } = this.shared;
    if (node.type.dtype !== "u32") return;
    if (isOp(node, "iota")) below.set(node, node.attrs.axis.size.value ?? Infinity);
    else if (isOp(node, "input")) below.set(node, INDICES);
    else if (isOp(node, "topk")) {
      const chosen = node.inputs[0]!.type.axes.find((a) => a.name === node.attrs.axis)!;
      if (chosen.size.value !== null) below.set(node, chosen.size.value);
    } else if (KEEPS.has(node.op) && node.inputs.every((n) => n.type.dtype !== "u32" || below.has(n)))
      below.set(node, Math.max(...node.inputs.map((n) => below.get(n) ?? 0)));
  }
}

/** Ops whose elements are elements of their inputs. */
const KEEPS: ReadonlySet<string> = new Set([
  "rename",
  "split",
  "merge",
  "slice",
  "roll",
  "broadcast",
  "transpose",
  "concat",
  "take",
  "select",
  "min",
  "max",
] satisfies OpName[]);

/** Labels as programs have them, and some that the compiler gives to axes of its own. */
const NAMES = [
  "D",
  "E",
  "F",
  "N",
  "H",
  "C",
  "K",
  "A",
  "B",
  "U",
  "V",
  "G",
  "R",
  "P",
  "S",
  "Q",
  "D'",
  "wanted",
  "sequence",
  "latent",
  "batch2",
];

export function newShared(kind: Kind, whole: boolean, T: number, grow: Shared["grow"]): Shared {
  return {
    b: new Builder(new Graph()),
    kind,
    whole,
    labels: new Map([[TIME, Dim.of(TIME)]]),
    functions: new Map(),
    values: new Map(),
    below: new Map(),
    T,
    grow,
  };
}

export function axisNamed(name: string, size: Dim): Axis {
  return { name, size, origin: null };
}

export const timeAxis = time;

function paramTypes(fn: GraphFunction): ReadonlyMap<string, TensorType> {
  const found = new Map<string, TensorType>();
  const seen = new Set<Node>();
  const visit = (node: Node): void => {
    if (seen.has(node)) return;
    seen.add(node);
    if (isOp(node, "param")) found.set(node.attrs.path, node.type);
    node.inputs.forEach(visit);
  };
  fn.outputs.forEach((o) => visit(o.node));
  return found;
}
