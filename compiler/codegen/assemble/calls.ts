/**
 * Where arguments and results of main's calls lie, and the copies that a value needs which outlives its buffer. What a layer is given and the
 * backward pass reads again goes into a buffer with the layer's number in its name, so that a repeat holds the copies as well and the list
 * of dispatches does not grow with the layers.
 */
import type { Node } from "../../graph/node.ts";
import { elementsOf } from "../lower/size.ts";
import { identifier } from "../lower/text.ts";
import type { Dispatch, Repeat } from "../../plan/plan.ts";
import { baseOf } from "../schedule/bytes.ts";
import type { CallKernel } from "../schedule/kernel.ts";
import type { Schedule } from "../schedule/scheduling.ts";
import type { FunctionContext, Places } from "./function.ts";
import { emitCopy, placeOf } from "./function.ts";
import type { FunctionCode } from "./layer.ts";
import { pushRepeat } from "./repeat.ts";

export class CallPlaces {
  readonly #functions: ReadonlyMap<string, FunctionCode>;
  readonly #places: Places;
  readonly #context: FunctionContext;
  /** Where what is read after the last step has to be. */
  readonly #kept: ReadonlyMap<Node, string>;
  readonly #lastRead = new Map<Node, number>();
  /** What each argument or result buffer holds now. */
  readonly #holds = new Map<string, Node>();
  /** Buffers for what had to be moved. */
  readonly #asides = new Set<string>();

  constructor(
    planned: Schedule,
    functions: ReadonlyMap<string, FunctionCode>,
    places: Places,
    context: FunctionContext,
    kept: ReadonlyMap<Node, string>,
  ) {
    this.#kept = kept;
    this.#functions = functions;
    this.#places = places;
    this.#context = context;
    planned.kernels.forEach((kernel, at) => {
      for (const node of planned.reads(kernel)) this.#lastRead.set(node, at);
    });
    for (const node of kept.keys()) this.#lastRead.set(node, Number.POSITIVE_INFINITY);
    // A value that only the first call reads is stored where that call expects it.
    const first = planned.kernels.findIndex((k) => k.kind === "call");
    const kernel = planned.kernels[first];
    if (kernel?.kind !== "call") return;
    kernel.args.forEach((arg, i) => {
      const base = baseOf(arg);
      const to = this.#code(kernel).arguments[i]!;
      if (
        places.has(base) ||
        planned.ownerOf(base) === null ||
        this.#holds.has(to) ||
        (this.#lastRead.get(base) ?? 0) > first
      )
        return;
      places.set(base, to);
      this.#holds.set(to, base);
    });
  }

  emit(kernel: CallKernel, at: number, steps: (Dispatch | Repeat)[]): void {
    const code = this.#code(kernel);
    const layer = layerOf(kernel);
    const copies: Dispatch[] = [];
    kernel.args.map(baseOf).forEach((arg, i) => {
      const to = code.arguments[i]!;
      if (placeOf(this.#places, arg) === to) return;
      this.#evacuate(to, at - 1, kernel, copies);
      copies.push(emitCopy(arg, placeOf(this.#places, arg), to, this.#context));
      this.#holds.delete(to);
    });
    for (const to of code.results) if (to !== null) this.#evacuate(to, at, kernel, copies);
    if (layer === null) steps.push(...copies, ...code.steps);
    else pushRepeat(steps, layer, [...copies.map((d) => withHole(d, layer)), ...code.steps]);
    for (const node of kernel.computes) {
      const to = code.results[(node as Node<"call">).attrs.part] ?? null;
      if (to === null) continue;
      this.#places.set(node, to);
      this.#holds.set(to, node);
    }
  }

  /** Moves what a buffer holds to its output, or to a buffer of its own, when it is read after step `at`. */
  #evacuate(buffer: string, at: number, call: CallKernel, copies: Dispatch[]): void {
    const node = this.#holds.get(buffer);
    if (node === undefined || (this.#lastRead.get(node) ?? -1) <= at) return;
    const own = this.#kept.get(node) ?? this.#aside(node, buffer, call);
    copies.push(emitCopy(node, buffer, own, this.#context));
    this.#places.set(node, own);
    this.#holds.delete(buffer);
  }

  /** A buffer for what lay where this call's arguments or results go. */
  #aside(node: Node, buffer: string, call: CallKernel): string {
    const { collector, prefix } = this.#context;
    const layer = layerOf(call);
    const named = layer === null ? null : `${prefix}.${identifier(call.fn)}.${buffer}${SAVED}[${layer}]`;
    const id = named === null || this.#asides.has(named) ? `${prefix}.kept${node.id}` : named;
    this.#asides.add(id);
    return collector.buffer(id, node.type.dtype, elementsOf(node));
  }

  #code(kernel: CallKernel): FunctionCode {
    const code = this.#functions.get(kernel.fn);
    if (code === undefined) throw new Error(`there is no function ${kernel.fn}`);
    return code;
  }
}

/** Behind what a buffer is called that a layer is given or leaves, before the number of the layer. */
const SAVED = ".saved";

/** Of a buffer that is kept for each layer from going forwards to going back. */
export function isSaved(id: string): boolean {
  return id.includes(`${SAVED}[`);
}

/** The number of the layer that a call is of. */
function layerOf({ path }: CallKernel): number | null {
  const index = /\[(\d+)\]$/.exec(path)?.[1];
  return index === undefined ? null : Number(index);
}

/** A copy from or to what is saved of a layer, as it is for any layer. */
function withHole(copy: Dispatch, layer: number): Dispatch {
  const own = `${SAVED}[${layer}]`;
  const bindings = copy.bindings.map((b) =>
    b.kind === "buffer" && b.id.endsWith(own) ? { ...b, id: `${b.id.slice(0, -own.length)}${SAVED}[#]` } : b,
  );
  return { ...copy, bindings };
}
