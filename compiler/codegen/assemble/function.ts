/**
 * One scheduled function as dispatches: its nodes get buffers, its kernels code. Results go where the next call reads them:
 * over the argument of the same place and type, when nothing reads that any more, else by a copy at the end.
 */
import type { Node } from "../../graph/node.ts";
import { plainPath } from "../../graph/path.ts";
import type { DType } from "../../graph/type.ts";
import type { LowerContext } from "../lower/context.ts";
import { lowerKernel } from "../lower/lower-kernel.ts";
import { elementsOf } from "../lower/size.ts";
import type { HostNumber, ParameterPlace } from "../lower/place.ts";
import type { StoreType } from "../../plan/store.ts";
import { tuning } from "../kernel/tuning.ts";
import type { Binding, DeviceFacts, Dispatch, Layout, Size } from "../../plan/plan.ts";
import { baseOf } from "../schedule/bytes.ts";
import type { Kernel, MapKernel, Regime } from "../schedule/kernel.ts";
import { inBuffer, isInBuffer } from "../schedule/kernel.ts";
import type { Schedule, ScheduleWork } from "../schedule/scheduling.ts";
import type { Collector, Lifetime } from "./collect.ts";
import { labelKernel, originOf } from "./label.ts";
import { bytesOf, flopsOf } from "./work.ts";
import { isOp } from "../../graph/node.ts";

/** Everything that assembling a function needs to know. */
export interface FunctionContext {
  readonly device: DeviceFacts;
  readonly regime: Regime;
  readonly force: LowerContext["force"];
  readonly cache: LowerContext["cache"];
  /** What rows of numbers are in the memory in which kernels leave them for each other. */
  readonly activations: StoreType;
  readonly stepTokens: number | null;
  readonly collector: Collector;
  /** Gets what the scheduling of each function took. */
  readonly scheduled: (work: ScheduleWork) => void;
  /** Prefix of buffer ids, and the pool whose classes its temporaries share. */
  readonly prefix: string;
  readonly pool: string;
  readonly parameterOf: (param: Node<"param">) => ParameterPlace;
  readonly tableOf: (param: Node<"param">) => string | null;
  /** What stands for a parameter of the graph beside those of the plan. */
  readonly boundOf: (param: Node<"param">) => { readonly bound: Binding } | HostNumber | null;
  /** The layout of a parameter of the plan. */
  readonly layoutOf: (path: string) => Layout;
}

/** Buffers by base node. */
export type Places = Map<Node, string>;

/** Buffers for the stored nodes that have no place yet; nodes in `kept` live to the end. */
export function placeTemporaries(
  schedule: Schedule,
  places: Places,
  kept: ReadonlySet<Node>,
  context: FunctionContext,
): void {
  const lifetimes = new Map<Node, Lifetime>();
  schedule.kernels.forEach((kernel, step) => {
    for (const store of kernel.stores) {
      if (!isInBuffer(store) || places.has(store.node)) continue;
      const id = `${context.prefix}.${lifetimes.size}`;
      const to = kept.has(store.node) ? Number.POSITIVE_INFINITY : step;
      const { dtype } = store.node.type;
      const held = isRow(store.node) ? context.activations : "f32";
      lifetimes.set(store.node, { id, dtype, elements: elementsOf(store.node), store: held, from: step, to });
    }
    for (const node of schedule.reads(kernel)) {
      const life = lifetimes.get(node);
      if (life !== undefined) lifetimes.set(node, { ...life, to: Math.max(life.to, step) });
    }
  });
  context.collector.temporaries(context.pool, [...lifetimes.values()]);
  for (const [node, { id }] of lifetimes) places.set(node, id);
}

/** What is few numbers for a token, such as a norm's factor or scores of experts, is exact in all that follows from it. */
function isRow({ type: { dtype, axes } }: Node): boolean {
  const columns = axes.at(-1)?.size.value ?? 0;
  return dtype === "f32" && columns % 4 === 0 && columns >= tuning.schedule.narrow;
}

/** Lowers a kernel; `places` says where each stored node and each input lies. */
export function emitKernel(
  kernel: Exclude<Kernel, { kind: "call" }>,
  schedule: Schedule,
  places: Places,
  context: FunctionContext,
): readonly Dispatch[] {
  const reads = schedule.reads(kernel);
  const lower = lowerContext(schedule, places, context);
  const lowered = lowerKernel(kernel, "kernel", lower);
  return lowered.map(({ module, bindings, grid, constants, ends = false }) => {
    const params = bindings.flatMap((b) => (b.kind === "parameter" ? [b.path] : []));
    const label = labelKernel(kernel, [...new Set(params.map(plainPath))]);
    const origin = originOf(kernel);
    const parts = bindings.flatMap((b) => (b.kind === "parameter" ? [lower.partOf(b.path, b.part)] : []));
    return {
      kind: "dispatch",
      module: context.collector.module(module, label, origin),
      bindings: bindings.map((b) => (b.kind === "parameter" ? { ...b, path: plainPath(b.path) } : b)),
      grid,
      constants,
      label,
      origin,
      flops: ends ? 0 : flopsOf(kernel),
      bytes: bytesOf(kernel, reads, parts),
    };
  });
}

/** For code that is only looked at: every node lies in a buffer of its own. */
export function probeContext(schedule: Schedule, context: FunctionContext): LowerContext {
  return lowerContext(
    schedule,
    { get: (node) => `${node.id}` },
    { ...context, collector: { buffer: (id) => id, storeOf: () => "f32" } },
  );
}

function lowerContext(
  schedule: Schedule,
  places: Pick<Places, "get">,
  context: Omit<FunctionContext, "collector"> & { readonly collector: Pick<Collector, "buffer" | "storeOf"> },
): LowerContext & { partOf: (path: string, part: number) => { start: number; count: number; bytes: number } } {
  const { collector } = context;
  const byPath = new Map<string, ParameterPlace>();
  const parameterOf = (param: Node<"param">): ParameterPlace => {
    const place = context.parameterOf(param);
    byPath.set(place.path, place);
    return place;
  };
  return {
    device: context.device,
    regime: context.regime,
    force: context.force,
    cache: context.cache,
    stepTokens: context.stepTokens,
    parameterOf,
    partOf: (path, part) => byPath.get(path)?.parts[part] ?? { start: 0, count: 0, bytes: 0 },
    targetOf: (store) =>
      store.state !== null
        ? { kind: "state", id: store.state.id }
        : { kind: "buffer", id: store.kept === null ? placeOf(places, store.node) : plainPath(store.kept.id) },
    scratch: (id, type: DType, elements: Size): Binding => ({
      kind: "buffer",
      id: collector.buffer(id, type, elements),
    }),
    memoryFor: (kernel) => ({
      bufferOf: (node) => {
        const base = baseOf(node);
        if (schedule.ownerOf(base) === kernel || (schedule.ownerOf(base) === null && !isOp(base, "input"))) return null;
        const id = places.get(base);
        return id === undefined ? null : { kind: "buffer", id };
      },
      parameterOf: (param) => {
        const table = context.tableOf(param);
        if (table !== null) return { bound: { kind: "table", id: table } };
        return context.boundOf(param) ?? parameterOf(param);
      },
      storeOf: (binding) => (binding.kind === "buffer" ? collector.storeOf(binding.id) : "f32"),
      accessOf: (binding) => {
        const own = kernel.stores.some(
          (s) => isInBuffer(s) && binding.kind === "buffer" && places.get(s.node) === binding.id,
        );
        return own ? "write" : "read";
      },
      builtin: (name) => ({
        kind: "buffer",
        id: collector.buffer(name, "u32", name === "runs" ? ["*", "S", 2] : "T", { role: "input" }),
      }),
    }),
  };
}

/** A dispatch that copies a node from one buffer to another. */
export function emitCopy(node: Node, from: string, to: string, context: FunctionContext): Dispatch {
  const kernel: MapKernel = { kind: "map", computes: [], stores: [inBuffer(node)] };
  const memory = {
    bufferOf: (n: Node): Binding | null => (n === node ? { kind: "buffer", id: from } : null),
    storeOf: (binding: Binding) => (binding.kind === "buffer" ? context.collector.storeOf(binding.id) : "f32"),
    accessOf: () => "read" as const,
    parameterOf: context.parameterOf,
    builtin: (): Binding => ({ kind: "step" }),
  };
  const lower: LowerContext = {
    device: context.device,
    regime: context.regime,
    force: context.force,
    cache: context.cache,
    stepTokens: context.stepTokens,
    parameterOf: context.parameterOf,
    targetOf: () => ({ kind: "buffer", id: to }),
    scratch: () => ({ kind: "step" }),
    memoryFor: () => memory,
  };
  const [lowered] = lowerKernel(kernel, "kernel", lower);
  const { module, bindings, grid, constants } = lowered!;
  const bytes: Size = ["*", elementsOf(node), 8];
  return {
    kind: "dispatch",
    module: context.collector.module(module, "copy", null),
    bindings,
    grid,
    constants,
    label: "copy",
    origin: null,
    flops: 0,
    bytes,
  };
}

export function placeOf(places: Pick<Places, "get">, node: Node): string {
  const id = places.get(node);
  if (id === undefined) throw new Error(`node %${node.id} (${node.op}) has no place in memory`);
  return id;
}
