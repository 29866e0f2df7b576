/**
 * From a node and an index to WGSL: the one way in which light nodes become code. A value is computed where it is wanted,
 * from what is in memory, from what the kernel holds locally, and from operands computed the same way; equal values of a
 * scope share a `let`. Wants the graph's ops by lowering kind alone. Limits: row ops, templates and calls have to be in
 * memory or local; a run that is no run in memory falls back to four scalars.
 */
import type { Node } from "../../graph/node.ts";
import { isOp } from "../../graph/node.ts";
import type { Axis } from "../../graph/type.ts";
import { TIME, findAxis, hasAxis } from "../../graph/type.ts";
import type { KernelWriter } from "../kernel/writer.ts";
import type { Lowering } from "../../ops/define.ts";
import { rowWidth, stateOf } from "../../ops/states.ts";
import { ops } from "../../ops/table.ts";
import type { Index, Run } from "./indexing.ts";
import { at, flatten, hasRuns, restrict, runThrough, shift } from "./indexing.ts";
import type { Memory } from "./place.ts";
import { loadBuffer, loadParameter } from "./place.ts";
import { FIELDS, fromMemory, literal, memoryType, splat, typeText } from "./text.ts";

/** A value that the kernel holds itself, as an expression; null when it does not hold the node. */
export type Local = (node: Node, index: Index, run: Run) => string | null;

export class Emitter {
  readonly w: KernelWriter;
  readonly #memory: Memory;
  readonly #local: Local;
  /** Innermost scope last. */
  readonly #scopes: { readonly lines: string[]; readonly known: Map<string, string> }[] = [
    { lines: [], known: new Map() },
  ];

  constructor(w: KernelWriter, memory: Memory, local: Local = () => null) {
    this.w = w;
    this.#memory = memory;
    this.#local = local;
  }

  /** Statements so far, which are then forgotten, and so is every value in them. */
  flush(): string {
    const scope = this.#scopes.at(-1)!;
    scope.known.clear();
    return scope.lines.splice(0).join("\n");
  }

  line(text: string): void {
    this.#scopes.at(-1)!.lines.push(text);
  }

  /** Statements of a nested scope, which sees the values outside of it. */
  block(write: () => void): string {
    this.#scopes.push({ lines: [], known: new Map() });
    write();
    return this.#scopes.pop()!.lines.join("\n");
  }

  /** A name for an expression in this scope. */
  name(text: string): string {
    if (/^[a-z_][A-Za-z0-9_]*$|^[0-9.e+-]+[fui]?$/.test(text)) return text;
    const name = this.w.fresh("v");
    this.line(`let ${name} = ${text};`);
    return name;
  }

  /** An expression for the node at an index; a vec4 along `run`, which is splat where the node lacks that axis. */
  value(node: Node, index: Index, run: Run): string {
    if (run !== null && !hasAxis(node.type, run)) return splat(this.value(node, index, null), node.type.dtype);
    const own = restrict(index, node.type);
    const key = `${node.id}|${run}|${[...own.values()].join("|")}`;
    for (const scope of this.#scopes) {
      const known = scope.known.get(key);
      if (known !== undefined) return known;
    }
    const name = this.name(this.#expression(node, own, run));
    this.#scopes.at(-1)!.known.set(key, name);
    return name;
  }

  #expression(node: Node, index: Index, run: Run): string {
    const local = this.#local(node, index, run);
    if (local !== null) return local;
    const buffer = this.#memory.bufferOf(node);
    if (buffer !== null)
      return (
        loadBuffer(this.w, buffer, node, index, run, this.#memory.storeOf(buffer), this.#memory.accessOf(buffer)) ??
        this.#lanes(node, index, run)
      );
    const lowering = ops[node.op].lowering as Lowering<typeof node.op>;
    switch (lowering.kind) {
      case "source":
        return this.#source(node, index, run);
      case "map": {
        const operands = node.inputs.map((x) => this.value(x, index, run));
        const dtype = node.inputs.at(-1)?.type.dtype ?? node.type.dtype;
        const text = lowering.scalar(operands, node.attrs, dtype, run === null ? 1 : 4);
        for (const [helper] of text.matchAll(/\bmoe_\w+/g)) this.w.use(helper);
        return text;
      }
      case "view": {
        const [x] = node.inputs as [Node];
        const through = run === null ? null : runThrough(node, run);
        if (run !== null && through === null) return this.#lanes(node, index, run);
        return this.value(x, this.#named(lowering.index(index, node.attrs, x.type, this.w.size)), through);
      }
      case "concat":
        return this.#concat(node as Node<"concat">, index, run);
      case "gather":
        return this.#take(node as Node<"take">, index, run);
      case "spread":
        return this.#spread(node as Node<"spread">, index, run);
      case "reduce": {
        const { axes } = node.attrs as { readonly axes: readonly string[] };
        const [x] = node.inputs as [Node];
        const over = axes.map((name) => findAxis(x.type, name)!);
        return this.fold(over, node, index, run, lowering.identity, lowering.combine, (i, r) => this.value(x, i, r));
      }
      case "contraction": {
        const [x, y] = node.inputs as [Node, Node];
        const over = (node as Node<"dot">).attrs.axes.map((name) => findAxis(x.type, name)!);
        const product = (i: Index, r: Run): string => `${this.value(x, i, r)} * ${this.value(y, i, r)}`;
        return this.fold(over, node, index, run, 0, (a, b) => `${a} + ${b}`, product);
      }
      case "delay":
        return this.#delay(node as Node<"delay">, index, run);
      case "choice":
      case "running":
      case "attend":
      case "attend-grad":
      case "scan":
      case "memory":
      case "call":
        throw new Error(`${node.op} %${node.id} is neither in memory nor computed by this kernel`);
    }
  }

  /** A loop over axes; runs go along the result, or else along the last folded axis. */
  fold(
    over: readonly Axis[],
    node: Node,
    index: Index,
    run: Run,
    identity: number,
    combine: (a: string, b: string) => string,
    element: (index: Index, run: Run) => string,
  ): string {
    const { dtype } = node.type;
    const inner = over.at(-1);
    const along = run === null && inner !== undefined && hasRuns({ dtype, axes: over }, inner.name) ? inner.name : null;
    const wide = run ?? along;
    const sum = this.w.fresh("sum");
    this.line(`var ${sum} = ${typeText(dtype, wide)}(${literal(identity, dtype)});`);
    const inside = new Map(index);
    const loops = over.map((axis) => {
      const i = this.w.fresh("i");
      inside.set(axis.name, i);
      const step = axis.name === along ? `${i} += 4u` : `${i}++`;
      return `for (var ${i} = 0u; ${i} < ${this.w.size(axis.size)}; ${step}) {`;
    });
    const body = this.block(() => this.line(`${sum} = ${combine(sum, `(${element(inside, wide)})`)};`));
    this.line(`${loops.join("\n")}\n${body}\n${"}".repeat(loops.length)}`);
    const whole = along === null ? sum : foldLanes(sum, combine);
    return isSum(node) ? checkSum(this.w, whole, run) : whole;
  }

  #source(node: Node, index: Index, run: Run): string {
    if (isOp(node, "constant")) {
      const text = literal(node.attrs.value, node.attrs.dtype);
      return run === null ? text : splat(text, node.attrs.dtype);
    }
    if (isOp(node, "iota")) {
      const i = at(index, node.attrs.axis.name);
      return run === null ? i : `(${i} + vec4<u32>(0u, 1u, 2u, 3u))`;
    }
    if (isOp(node, "position") || isOp(node, "length"))
      return loadBuffer(this.w, this.#memory.builtin(node.op), node, index, run) ?? this.#lanes(node, index, run);
    if (isOp(node, "sequence"))
      return loadBuffer(this.w, this.#memory.builtin("slot"), node, index, run) ?? this.#lanes(node, index, run);
    if (isOp(node, "param")) {
      const place = this.#memory.parameterOf(node);
      if ("scalar" in place) return this.w.scalar(place.scalar, place.count);
      const text =
        "bound" in place
          ? loadBuffer(this.w, place.bound, node, index, run)
          : loadParameter(this.w, node, place, index, run);
      return text ?? this.#lanes(node, index, run);
    }
    throw new Error(`input %${node.id} is not in memory`);
  }

  #take(node: Node<"take">, index: Index, run: Run): string {
    const [x, chosen] = node.inputs as [Node, Node];
    // A run along the index is four places, not a run.
    if (run !== null && (hasAxis(chosen.type, run) || !hasAxis(x.type, run))) return this.#lanes(node, index, run);
    const i = this.value(chosen, index, null);
    return this.value(x, new Map(index).set(node.attrs.axis, i), run);
  }

  /** Looks at every row, and reads those that belong here. */
  #spread(node: Node<"spread">, index: Index, run: Run): string {
    const [x, chosen] = node.inputs as [Node, Node];
    const { axis, over } = node.attrs;
    if (run === axis.name) return this.#lanes(node, index, run);
    const place = at(index, axis.name);
    const sum = this.w.fresh("sum");
    this.line(`var ${sum} = ${typeText(node.type.dtype, run)}();`);
    const inside = new Map(index);
    const loops = over.map((name) => {
      const i = this.w.fresh("i");
      inside.set(name, i);
      return `for (var ${i} = 0u; ${i} < ${this.w.size(findAxis(chosen.type, name)!.size)}; ${i}++) {`;
    });
    const body = this.block(() => {
      const chosenHere = this.value(chosen, inside, null);
      const inner = this.block(() => this.line(`${sum} = ${sum} + ${this.value(x, inside, run)};`));
      this.line(`if (${chosenHere} == ${place}) {\n${inner}\n}`);
    });
    this.line(`${loops.join("\n")}\n${body}\n${"}".repeat(loops.length)}`);
    return checkSum(this.w, sum, run);
  }

  /** Within the step the other token's value is computed again; what was before the step lies in the state, after it is nothing. */
  #delay(node: Node<"delay">, index: Index, run: Run): string {
    const [x] = node.inputs as [Node];
    const { by } = node.attrs;
    const row = node.type.axes.filter((a) => a.name !== TIME);
    if (run !== null && !(row.at(-1)?.name === run && hasRuns(node.type, run))) return this.#lanes(node, index, run);
    const builtin = (name: "position" | "slot"): string =>
      this.w.bind(this.#memory.builtin(name), "array<u32>", "read");
    const t = at(index, TIME);
    const { dtype } = node.type;
    const result = this.w.fresh("past");
    const other = this.w.fresh("other");
    const inStep = this.block(() => this.line(`${result} = ${this.value(x, new Map(index).set(TIME, other), run)};`));
    // With its value: a variable of a loop that has none keeps the last turn's on some drivers.
    const declared = `var ${result} = ${typeText(dtype, run)}();`;
    const slot = builtin("slot");
    if (by <= 0) {
      this.line(`${declared}
let ${other} = ${t} + ${-by}u;
if (${other} < ${this.w.step("T")} && ${slot}[min(${other}, ${this.w.step("T")} - 1u)] == ${slot}[${t}]) {
${inStep}
}`);
      return result;
    }
    const position = builtin("position");
    const { id, rows } = stateOf(node, "x");
    const held = this.w.bind({ kind: "state", id }, `array<${typeText(memoryType(dtype), run)}>`, "read");
    const count = rows.kind === "last" ? rows.count : 1;
    const flat = `(${slot}[${t}] * ${count}u + (${position}[${t}] - ${by}u) % ${count}u) * ${rowWidth(row)}u + ${flatten(row, index)}`;
    const load = fromMemory(`${held}[${run === null ? flat : `(${flat}) / 4u`}]`, dtype, run);
    this.line(`${declared}
if (${position}[${t}] >= ${by}u) {
let ${other} = max(${t}, ${by}u) - ${by}u;
if (${t} >= ${by}u && ${slot}[${other}] == ${slot}[${t}]) {
${inStep}
} else { ${result} = ${load}; }
}`);
    return result;
  }

  #concat(node: Node<"concat">, index: Index, run: Run): string {
    const { axis, to } = node.attrs;
    const aligned = node.inputs.every((x) => hasRuns(x.type, axis));
    if (run === to.name && !aligned) return this.#lanes(node, index, run);
    const result = this.w.fresh("part");
    this.line(`var ${result}: ${typeText(node.type.dtype, run)};`);
    const i = at(index, to.name);
    const through = run === to.name ? axis : run;
    let start = "0u";
    const branches = node.inputs.map((x, part) => {
      const size = this.w.size(findAxis(x.type, axis)!.size);
      const end = start === "0u" ? size : `(${start} + ${size})`;
      const local = start === "0u" ? i : `(${i} - ${start})`;
      const body = this.block(() =>
        this.line(`${result} = ${this.value(x, new Map(index).set(axis, local), through)};`),
      );
      const test = part + 1 < node.inputs.length ? `if (${i} < ${end}) ` : "";
      start = end;
      return `${test}{\n${body}\n}`;
    });
    this.line(branches.join(" else "));
    return result;
  }

  /** Four scalars where the elements are no run in memory. */
  #lanes(node: Node, index: Index, run: Run): string {
    if (run === null) throw new Error(`${node.op} %${node.id} cannot be read`);
    const lanes = FIELDS.map((_, lane) => this.value(node, this.#named(shift(index, run, lane)), null));
    return `${typeText(node.type.dtype, run)}(${lanes.join(", ")})`;
  }

  /** Index expressions under names, so that chains of views stay short. */
  #named(index: Index): Index {
    return new Map([...index].map(([label, text]) => [label, this.name(text)]));
  }
}

/** True of a node that adds up. */
export function isSum({ op, type }: Node): boolean {
  return (op === "sum" || op === "dot") && type.dtype === "f32";
}

/** A whole sum, NaN where it is infinite. */
export function checkSum(w: KernelWriter, sum: string, run: Run): string {
  const helper = run === null ? "moe_sum" : "moe_sum4";
  w.use(helper);
  return `${helper}(${sum})`;
}

/** One value from the four of a vector. */
export function foldLanes(vector: string, combine: (a: string, b: string) => string): string {
  const [x, y, z, w] = FIELDS.map((f) => `${vector}.${f}`) as [string, string, string, string];
  return combine(combine(x, y), combine(z, w));
}
