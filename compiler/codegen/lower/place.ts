/**
 * Where values lie in GPU memory and how one element, or a run of four, is read. Buffers are row-major over the axes of
 * the node they hold; parameters lie in their plan's layout, perhaps in several parts.
 */
import type { Node } from "../../graph/node.ts";
import type { Axis } from "../../graph/type.ts";
import type { StoreType } from "../../plan/store.ts";
import { readerOf } from "../kernel/stored.ts";
import type { KernelWriter } from "../kernel/writer.ts";
import type { WriteSize } from "../../ops/size-text.ts";
import { FORMATS } from "../../plan/format.ts";
import { groupOf, matrixSteps } from "../../plan/layout.ts";
import type { Binding, Layout, Parameter } from "../../plan/plan.ts";
import { text } from "../wgsl/unpack.ts";
import type { Index, Run } from "./indexing.ts";
import { flatten, hasRuns } from "./indexing.ts";
import { fromMemory, identifier, memoryType, typeText } from "./text.ts";
import { loadMatrix, loadPlain } from "./weight.ts";

/** A parameter as kernels of a function see it: `#` in the path, one layout for all layers. `buffer`: what lies like it, but in a buffer. */
export type ParameterPlace = Pick<Parameter, "path" | "storage" | "layout" | "parts"> & { readonly buffer?: string };

/** One of the plan's host scalars, by its place among `count`. */
export interface HostNumber {
  readonly scalar: number;
  readonly count: number;
}

/** What code generation needs to know about memory. */
export interface Memory {
  /** The buffer that an earlier kernel left a node in, or that the runtime fills; null when it is not in memory. */
  readonly bufferOf: (node: Node) => Binding | null;
  /** What a buffer's elements f32 are in memory. */
  readonly storeOf: (binding: Binding) => StoreType;
  /** `write` for a buffer that the kernel also writes, element by element over what it reads: it has one binding. */
  readonly accessOf: (binding: Binding) => "read" | "write";
  /** A parameter, or what lies row-major in its stead: the table that a pass made of constants, a buffer kept across steps. */
  readonly parameterOf: (node: Node<"param">) => ParameterPlace | { readonly bound: Binding } | HostNumber;
  /** The built-in u32 inputs: [T], and for `runs` [S, 2], the first token of each sequence in the step and how many it has. */
  readonly builtin: (name: "position" | "length" | "slot" | "runs") => Binding;
}

/** Loads from a buffer; a run has to be whole along the last axis, or the answer is null. */
export function loadBuffer(
  w: KernelWriter,
  binding: Binding,
  node: Node,
  index: Index,
  run: Run,
  store: StoreType = "f32",
  access: "read" | "write" = "read",
): string | null {
  if (run !== null && !isInner(node, run)) return null;
  const { dtype, axes } = node.type;
  const read = readerOf(w, binding, dtype === "f32" ? store : memoryType(dtype), run === null ? 1 : 4, access);
  const flat = flatten(axes, index, w.size);
  return fromMemory(read(run === null ? flat : `${flat} / 4u`), dtype, run);
}

/** A run along this label is four neighbours in memory. */
export function isInner(node: Node, run: string): boolean {
  return node.type.axes.at(-1)?.name === run && hasRuns(node.type, run);
}

/** Loads an element of a parameter, through a function of its own when it has several parts. */
export function loadParameter(
  w: KernelWriter,
  node: Node<"param">,
  place: ParameterPlace,
  index: Index,
  run: Run,
): string | null {
  const { layout, storage } = place;
  const { axes } = node.type;
  if (layout.kind === "plain") {
    if (run !== null && !isInner(node, run)) return null;
    const row = count(axes.slice(1));
    const load = (part: Part, i: Index): string =>
      loadPlain(
        w,
        { storage, binding: bindingOf(place, part) },
        part.count * row,
        less(flatten(axes, i, w.size), part.start * row),
        run,
      );
    return overParts(w, place, axes.slice(0, 1), axes, index, run, load);
  }
  const [bank, k, n] = [axesOf(axes, layout.bank), axesOf(axes, layout.k), axesOf(axes, layout.n)];
  if (run !== null && !(n.at(-1)?.name === run && hasRuns(node.type, run))) return null;
  const byColumn = layout.split === "n";
  const load = (part: Part, i: Index): string => {
    const shape = {
      banks: byColumn ? 1 : part.count,
      k: count(k),
      n: byColumn && place.parts.length > 1 ? part.count : count(n),
    };
    const own = { bank: byColumn ? 0 : part.start, n: byColumn ? part.start : 0 };
    const at = {
      bank: bank.length === 0 ? null : less(flatten(bank, i, w.size), own.bank),
      k: flatten(k, i, w.size),
      n: less(flatten(n, i, w.size), own.n),
    };
    return loadMatrix(w, { storage, binding: bindingOf(place, part) }, shape, at, run);
  };
  return overParts(w, place, byColumn ? n : bank, axes, index, run, load);
}

/** Where an f32 element lies in a layout, as an element number. */
export function flattenIn(
  { axes, layout }: { readonly axes: readonly Axis[]; readonly layout: Layout },
  index: Index,
  size: WriteSize,
): string {
  if (layout.kind === "plain") return flatten(axes, index, size);
  const [bank, k, n] = [layout.bank, layout.k, layout.n].map((names) => axesOf(axes, names)) as [Axes, Axes, Axes];
  const place = {
    bank: bank.length === 0 ? null : flatten(bank, index, size),
    k: flatten(k, index, size),
    n: flatten(n, index, size),
  };
  return `(${groupOf(text, matrixSteps(FORMATS.f32, count(k), count(n)), place)})`;
}

/** The axis along which neighbours in a layout are neighbours in memory. */
export function innerOf({ axes, layout }: { readonly axes: readonly Axis[]; readonly layout: Layout }): string | null {
  return (layout.kind === "plain" ? axes.at(-1)?.name : layout.n.at(-1)) ?? null;
}

type Axes = readonly Axis[];

function axesOf(axes: Axes, names: readonly string[]): Axes {
  return names.map((name) => axes.find((a) => a.name === name)!);
}

type Part = Parameter["parts"][number];

function less(text: string, start: number): string {
  return start === 0 ? text : `(${text} - ${start}u)`;
}

/** Elements of an axis list of known sizes. */
export function count(axes: readonly Axis[]): number {
  return axes.reduce((product, a) => product * (a.size.value ?? Number.NaN), 1);
}

function bindingOf(place: ParameterPlace, part: Part): Binding {
  return partBinding(place, place.parts.indexOf(part));
}

export function partBinding({ path, buffer }: ParameterPlace, part: number): Binding {
  return buffer === undefined ? { kind: "parameter", path, part } : { kind: "buffer", id: buffer };
}

/** Chooses the part by the element number over the axes that the parts cut. */
function overParts(
  w: KernelWriter,
  place: ParameterPlace,
  cut: readonly Axis[],
  axes: readonly Axis[],
  index: Index,
  run: Run,
  load: (part: Part, index: Index) => string,
): string {
  const [only, ...more] = place.parts;
  if (only !== undefined && more.length === 0) return load(only, index);
  const name = `load${run === null ? "" : "4"}_${identifier(place.path)}`;
  const own = new Map(axes.map((a, i) => [a.name, `i${i}`]));
  const branches = place.parts.map((part, p) => {
    const test = p + 1 < place.parts.length ? `if (${flatten(cut, own, w.size)} < ${part.start + part.count}u) ` : "";
    return `  ${test}{ return ${load(part, own)}; }`;
  });
  const parameters = axes.map((_, i) => `i${i}: u32`).join(", ");
  w.global(name, `fn ${name}(${parameters}) -> ${typeText("f32", run)} {\n${branches.join("\n")}\n}`);
  return `${name}(${axes.map((a) => index.get(a.name) ?? "0u").join(", ")})`;
}
