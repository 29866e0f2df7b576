/** One invocation per element, or per four neighbours: everything that is neither a contraction nor a row. */
import { Dim } from "../../graph/dim.ts";
import { tuning } from "../kernel/tuning.ts";
import { KernelWriter } from "../kernel/writer.ts";
import type { MapKernel } from "../schedule/kernel.ts";
import type { LowerContext, Lowered } from "./context.ts";
import { Emitter } from "./emit.ts";
import { hasRuns, unflatten } from "./indexing.ts";
import { ceilDiv, elementsOf } from "./size.ts";
import { emitStore } from "./store.ts";

const { invocations: WORKGROUP } = tuning.map;

/** All stores of a map kernel have the same number of elements. */
export function lowerMap(kernel: MapKernel, id: string, context: LowerContext): Lowered {
  const [first] = kernel.stores;
  if (first === undefined) throw new Error("a map kernel stores something");
  const memory = context.memoryFor(kernel);
  const w = new KernelWriter();
  const e = new Emitter(w, memory);
  const runOf = (axes: typeof first.node.type.axes): string | null => axes.at(-1)?.name ?? null;
  const wide = kernel.stores.every(({ node }) => hasRuns(node.type, runOf(node.type.axes) ?? ""));
  const total = Dim.product(first.node.type.axes.map((a) => a.size));
  e.line(`let flat = (group * ${WORKGROUP}u + lane) * ${wide ? 4 : 1}u;`);
  e.line(`if (flat >= ${w.size(total)}) { return; }`);
  for (const store of kernel.stores) {
    const { axes } = store.node.type;
    const run = wide ? runOf(axes) : null;
    const index = new Map([...unflatten(axes, "flat", w.size)].map(([label, text]) => [label, e.name(text)]));
    emitStore(e, context, memory, store, index, run, e.value(store.node, index, run));
  }
  const module = w.finish(id, [WORKGROUP, 1, 1], e.flush());
  const grid = ceilDiv(elementsOf(first.node), WORKGROUP * (wide ? 4 : 1));
  return { module, bindings: w.bindings, grid: [grid, 1, 1], constants: w.constants };
}
