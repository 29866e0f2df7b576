/**
 * Adding rows up where an index says, as the gradient of what was looked up: a workgroup owns some rows of the result and four columns for each
 * invocation, walks over the index and adds the rows that are its own, in their order. So no two invocations write the same element, and sums
 * do not depend on timing. Limit: every workgroup looks at the whole index, which is little beside the rows unless the axis is much longer.
 */
import { Dim } from "../../graph/dim.ts";
import { KernelWriter } from "../kernel/writer.ts";
import { fewLanes, tuning } from "../kernel/tuning.ts";
import type { SpreadKernel } from "../schedule/kernel.ts";
import { inKept } from "../schedule/kernel.ts";
import type { LowerContext, Lowered } from "./context.ts";
import { Emitter } from "./emit.ts";
import type { Index } from "./indexing.ts";
import { hasRuns, unflatten } from "./indexing.ts";
import { count } from "./place.ts";
import { callValue } from "./prologue.ts";
import { readRows } from "./read-rows.ts";
import { fixedSize } from "./size.ts";
import { emitStore } from "./store.ts";

export function lowerSpread(kernel: SpreadKernel, id: string, context: LowerContext): Lowered {
  const { spread, stores } = kernel;
  const [x, index] = spread.inputs as [typeof spread, typeof spread];
  const memory = context.memoryFor(kernel);
  const [bank, ...axes] = spread.type.axes;
  const inner = axes.at(-1)!.name;
  const run = hasRuns(spread.type, inner) ? inner : null;
  const w = new KernelWriter();
  const lanes = context.device.manyCores ? tuning.spread.invocations : fewLanes(context.device);
  const { rows } = tuning.spread;
  const [size, columns] = [fixedSize(bank!), count(axes) / (run === null ? 1 : 4)];
  const blocks = Math.ceil(size / rows);
  const place = (row: string): ReadonlyMap<string, string> =>
    new Map([[bank!.name, row], ...unflatten(axes, "column", w.size)]);
  const emit = (row: string, value: string, adds: boolean): string => {
    const e = new Emitter(w, memory);
    for (const store of stores) {
      // What is added to lies as the buffer of the node does, or as the one that is kept.
      const kept = store.kept ?? { id: "", axes: spread.type.axes, layout: { kind: "plain" } as const, adds };
      if (store.kept !== null && !adds && store.kept.adds) continue;
      const target = { ...context, targetOf: () => context.targetOf(store) };
      emitStore(e, target, memory, inKept(spread, { ...kept, adds }), place(row), run, value);
    }
    return e.flush();
  };
  const zero = run === null ? "0.0" : "vec4<f32>()";
  const placeOf = (): Index => unflatten(index.type.axes, "i", w.size);
  const chosen = callValue(w, memory, "read_index", index, ["i"], placeOf, null, ["i"]);
  const value = readRows(w, memory, "rows", x, index.type.axes, axes, run, "i", "column");
  const text = `let first = group % ${blocks}u * ${rows}u;
let column = (group / ${blocks}u * ${lanes}u + lane)${run === null ? "" : " * 4u"};
if (column >= ${count(axes)}u) { return; }
let own = min(${rows}u, ${size}u - first);
for (var r = 0u; r < own * once; r++) {
let row = first + r;
${emit("row", zero, false)}
}
for (var i = 0u; i < ${w.size(Dim.product(index.type.axes.map((a) => a.size)))}; i++) {
let row = ${chosen};
if (row - first < own) {
let value = ${value};
${emit("row", "value", true)}
}
}`;
  const module = w.finish(id, [lanes, 1, 1], text);
  return { module, bindings: w.bindings, grid: [blocks * Math.ceil(columns / lanes), 1, 1], constants: w.constants };
}
