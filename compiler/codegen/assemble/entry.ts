/** One entry of a plan: main's dispatches with each call's function in its place. A function's code is made once. */
import type { Node, Program } from "../../graph/node.ts";
import { identifier } from "../lower/text.ts";
import { elementsOf } from "../lower/size.ts";
import type { Dispatch, Entry, EntryRegime, Repeat } from "../../plan/plan.ts";
import { baseOf } from "../schedule/bytes.ts";
import type { ScheduleOptions } from "../schedule/scheduling.ts";
import { CallPlaces } from "./calls.ts";
import type { FunctionContext, Places } from "./function.ts";
import { emitCopy, emitKernel, placeOf, placeTemporaries } from "./function.ts";
import { type Keeps, placeKept } from "./kept.ts";
import { assembleFunction, findFeeds, type FunctionCode } from "./layer.ts";
import { scheduleNarrow } from "./narrow.ts";

export interface EntryProgram {
  readonly name: string;
  readonly regimes: readonly EntryRegime[];
  /** After all graph passes; its outputs are the entry's. */
  readonly program: Program;
  /** What is kept of a micro-batch, where it is one that trains: then the entry gives nothing else back. */
  readonly keeps?: Keeps;
}

export type EntryContext = Omit<FunctionContext, "prefix" | "pool">;

export function assembleEntry(
  { name: output, program, keeps }: EntryProgram,
  regime: EntryRegime,
  options: Omit<ScheduleOptions, "cuts">,
  context: EntryContext,
): Entry {
  const name = `${output}.${regime}`;
  const kept = placeKept(program, keeps ?? null, context);
  const feeds = findFeeds(program);
  const functions = new Map<string, FunctionCode>();
  for (const fn of program.functions.values()) {
    const own = { ...context, prefix: `${name}.${identifier(fn.name)}`, pool: "layer" };
    const [fed, keptOf] = [feeds.get(fn.name) ?? new Map(), kept.ofFunctions.get(fn.name) ?? new Map()];
    functions.set(fn.name, assembleFunction(fn, fed, keptOf, options, own));
  }
  const main: FunctionContext = { ...context, prefix: `${name}.main`, pool: "main" };
  const { collector } = context;
  const places: Places = new Map();
  for (const input of program.main.inputs) {
    const role = input.type.axes.some((a) => a.size.dependsOn("S")) ? "per-sequence" : "input";
    places.set(input, collector.buffer(input.attrs.name, input.type.dtype, elementsOf(input), { role }));
  }
  const outputs = program.main.outputs.flatMap((o) => (kept.names.has(o.name) ? [] : [{ ...o, base: baseOf(o.node) }]));
  const planned = scheduleNarrow([...outputs.map((o) => o.node), ...kept.calls], kept.ofMain, options, main);
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
  steps.push(...kept.settle(main));
  const inputs = collector.buffers.filter((b) => b.role === "input" && bound.has(b.id)).map((b) => b.id);
  return {
    name,
    output,
    regime,
    phase: keeps === undefined ? "infer" : "micro",
    inputs,
    outputs: outputs.map((o) => o.name),
    steps,
  };
}
