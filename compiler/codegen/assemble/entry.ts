/**
 * One entry of a plan: main's dispatches with each call's function in its place. A function's code is made once; arguments
 * and results lie in buffers that all functions of the same shape share, so that consecutive calls need no copies and
 * become one repeat.
 */
import type { GraphFunction, Node, Program } from "../../graph/node.ts";
import type { TensorType } from "../../graph/type.ts";
import { formatType, sameType } from "../../graph/type.ts";
import { identifier } from "../lower/text.ts";
import { elementsOf } from "../lower/size.ts";
import type { Dispatch, Entry, EntryRegime, Repeat } from "../../plan/plan.ts";
import { baseOf } from "../schedule/bytes.ts";
import type { CallKernel } from "../schedule/kernel.ts";
import type { Schedule, ScheduleOptions } from "../schedule/scheduling.ts";
import type { FunctionContext, Places } from "./function.ts";
import { mayOverwrite } from "./in-place.ts";
import { scheduleNarrow } from "./narrow.ts";
import { emitCopy, emitKernel, placeOf, placeTemporaries } from "./function.ts";

interface FunctionCode {
  readonly steps: readonly Dispatch[];
  /** Buffers in which arguments are expected and results are left. */
  readonly arguments: readonly string[];
  readonly results: readonly string[];
}

export type EntryContext = Omit<FunctionContext, "prefix" | "pool">;

export function assembleEntry(
  output: string,
  regime: EntryRegime,
  program: Program,
  options: Omit<ScheduleOptions, "cuts">,
  context: EntryContext,
): Entry {
  const name = `${output}.${regime}`;
  const functions = new Map<string, FunctionCode>();
  for (const fn of program.functions.values()) {
    functions.set(
      fn.name,
      assembleFunction(fn, options, { ...context, prefix: `${name}.${identifier(fn.name)}`, pool: "layer" }),
    );
  }
  const main: FunctionContext = { ...context, prefix: `${name}.main`, pool: "main" };
  const { collector } = context;
  const places: Places = new Map();
  for (const input of program.main.inputs) {
    const role = input.type.axes.some((a) => a.size.dependsOn("S")) ? "per-sequence" : "input";
    places.set(input, collector.buffer(input.attrs.name, input.type.dtype, elementsOf(input), { role }));
  }
  const outputs = program.main.outputs.map((o) => ({ ...o, base: baseOf(o.node) }));
  const planned = scheduleNarrow(
    outputs.map((o) => o.node),
    options,
    main,
  );
  const copies: { readonly node: Node; readonly to: string }[] = [];
  for (const { name: id, base } of outputs) {
    const to = collector.buffer(id, base.type.dtype, elementsOf(base), { role: "output" });
    const owner = planned.ownerOf(base);
    if (owner === null || owner.kind === "call" || places.has(base)) copies.push({ node: base, to });
    else places.set(base, to);
  }
  const calls = new CallPlaces(planned, functions, places, main, new Map(copies.map((c) => [c.node, c.to])));
  placeTemporaries(planned, places, new Set(copies.map((c) => c.node)), main);
  const steps: (Dispatch | Repeat)[] = [];
  // In order: where a call's results lie is known once it has been emitted.
  planned.kernels.forEach((kernel, at) => {
    if (kernel.kind === "call") calls.emit(kernel, at, steps);
    else steps.push(...emitKernel(kernel, planned, places, main));
  });
  for (const { node, to } of copies) {
    const from = placeOf(places, node);
    if (from !== to) steps.push(emitCopy(node, from, to, main));
  }
  const bound = new Set(
    steps
      .flatMap((s) => (s.kind === "repeat" ? s.steps : [s]))
      .flatMap((d) => d.bindings.flatMap((b) => (b.kind === "buffer" ? [b.id] : []))),
  );
  const inputs = collector.buffers.filter((b) => b.role === "input" && bound.has(b.id)).map((b) => b.id);
  return { name, output, regime, phase: "infer", inputs, outputs: outputs.map((o) => o.name), steps };
}

/** Buffers of arguments and results by place and type: the same for all functions. */
function streamBuffer(
  context: FunctionContext,
  kind: "arg" | "result",
  i: number,
  type: TensorType,
  node: Node,
): string {
  return context.collector.buffer(`${kind}${i}.${identifier(formatType(type))}`, type.dtype, elementsOf(node));
}

function assembleFunction(
  fn: GraphFunction,
  options: Omit<ScheduleOptions, "cuts">,
  context: FunctionContext,
): FunctionCode {
  const places: Places = new Map(
    fn.inputs.map((input, i) => [input, streamBuffer(context, "arg", i, input.type, input)]),
  );
  const planned = scheduleNarrow(
    fn.outputs.map((o) => o.node),
    options,
    context,
  );
  const args = fn.inputs.map((input) => placeOf(places, input));
  const results = fn.outputs.map(({ node }, i) => {
    const input = fn.inputs[i];
    return input !== undefined && sameType(input.type, node.type)
      ? args[i]!
      : streamBuffer(context, "result", i, node.type, node);
  });
  const copies: { readonly node: Node; readonly to: string }[] = [];
  fn.outputs.forEach(({ node }, i) => {
    const base = baseOf(node);
    const to = results[i]!;
    const input = fn.inputs[i];
    const over = input !== undefined && args[i] === to ? input : null;
    const passedOn = fn.outputs.some((o) => baseOf(o.node) === over);
    if (places.has(base) || (over !== null && (passedOn || !mayOverwrite(planned, over, base)))) {
      if (places.get(base) !== to) copies.push({ node: base, to });
    } else places.set(base, to);
  });
  placeTemporaries(planned, places, new Set(copies.map((c) => c.node)), context);
  const steps = planned.kernels.flatMap((kernel) => {
    if (kernel.kind === "call")
      throw new Error(`${fn.name} calls ${kernel.fn}: calls inside of functions have to be inlined first`);
    return emitKernel(kernel, planned, places, context);
  });
  steps.push(
    ...emitCopies(
      copies.map(({ node, to }) => ({ node, from: placeOf(places, node), to })),
      context,
    ),
  );
  return { steps, arguments: args, results };
}

interface Copy {
  readonly node: Node;
  readonly from: string;
  readonly to: string;
}

/** In an order in which no copy overwrites what another has yet to read; where they go in a circle, one value waits aside. */
function emitCopies(copies: readonly Copy[], context: FunctionContext): readonly Dispatch[] {
  const [steps, left] = [[] as Dispatch[], [...copies]];
  while (left.length > 0) {
    const free = left.findIndex(({ to }) => !left.some((other) => other.to !== to && other.from === to));
    const [{ node, from, to }] = left.splice(Math.max(0, free), 1) as [Copy];
    if (free >= 0) steps.push(emitCopy(node, from, to, context));
    else {
      const aside = context.collector.buffer(`${context.prefix}.aside${node.id}`, node.type.dtype, elementsOf(node));
      steps.push(emitCopy(node, from, aside, context));
      left.push({ node, from: aside, to });
    }
  }
  return steps;
}

/** Where arguments and results of main's calls lie, and the copies that a value needs which outlives its buffer. */
class CallPlaces {
  readonly #functions: ReadonlyMap<string, FunctionCode>;
  readonly #places: Places;
  readonly #context: FunctionContext;
  /** Where what is read after the last step has to be. */
  readonly #kept: ReadonlyMap<Node, string>;
  readonly #lastRead = new Map<Node, number>();
  /** What each argument or result buffer holds now. */
  readonly #holds = new Map<string, Node>();

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
    const args = kernel.args.map(baseOf);
    args.forEach((arg, i) => {
      const to = code.arguments[i]!;
      if (placeOf(this.#places, arg) === to) return;
      this.#evacuate(to, at - 1, steps);
      steps.push(emitCopy(arg, placeOf(this.#places, arg), to, this.#context));
      this.#holds.delete(to);
    });
    for (const to of code.results) this.#evacuate(to, at, steps);
    const index = /\[(\d+)\]$/.exec(kernel.path)?.[1];
    const last = steps.at(-1);
    if (index === undefined) steps.push(...code.steps);
    else if (last?.kind === "repeat" && last.steps === code.steps)
      steps[steps.length - 1] = { ...last, indices: [...last.indices, Number(index)] };
    else steps.push({ kind: "repeat", indices: [Number(index)], steps: code.steps });
    for (const node of kernel.computes) {
      const to = code.results[(node as Node<"call">).attrs.part]!;
      this.#places.set(node, to);
      this.#holds.set(to, node);
    }
  }

  /** Moves what a buffer holds to its output, or to a buffer of its own, when it is read after step `at`. */
  #evacuate(buffer: string, at: number, steps: (Dispatch | Repeat)[]): void {
    const node = this.#holds.get(buffer);
    if (node === undefined || (this.#lastRead.get(node) ?? -1) <= at) return;
    const { collector, prefix } = this.#context;
    const own = this.#kept.get(node) ?? collector.buffer(`${prefix}.kept${node.id}`, node.type.dtype, elementsOf(node));
    steps.push(emitCopy(node, buffer, own, this.#context));
    this.#places.set(node, own);
    this.#holds.delete(buffer);
  }

  #code(kernel: CallKernel): FunctionCode {
    const code = this.#functions.get(kernel.fn);
    if (code === undefined) throw new Error(`there is no function ${kernel.fn}`);
    return code;
  }
}
