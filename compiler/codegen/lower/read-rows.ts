/** Activations as matrices: what kernels of products ask of their operands. */
import type { Node } from "../../graph/node.ts";
import type { Axis } from "../../graph/type.ts";
import { readerOf } from "../kernel/stored.ts";
import type { KernelWriter } from "../kernel/writer.ts";
import type { Index, Run } from "./indexing.ts";
import { hasRuns, unflatten } from "./indexing.ts";
import type { Memory } from "./place.ts";
import { count } from "./place.ts";
import { callValue } from "./prologue.ts";

/**
 * A node at (row, k), element numbers over `rowAxes` and `kAxes`; a vec4 along `run`, the last of those. In memory in that very order, it needs no
 * arithmetic on its axes. `name` tells apart what a kernel reads so.
 */
export function readRows(
  w: KernelWriter,
  memory: Memory,
  name: string,
  a: Node,
  rowAxes: readonly Axis[],
  kAxes: readonly Axis[],
  run: Run,
  row: string,
  k: string,
): string {
  const k4 = count(kAxes) % 4 === 0;
  const buffer = memory.bufferOf(a);
  const names = [...rowAxes, ...kAxes].map((x) => x.name).join();
  if (buffer !== null && names === a.type.axes.map((x) => x.name).join() && (run === null || k4)) {
    const flat = `(${row}) * ${count(kAxes)}u + ${k}`;
    const read = readerOf(w, buffer, memory.storeOf(buffer), run === null ? 1 : 4);
    return read(run === null ? flat : `(${flat}) / 4u`);
  }
  // A run of k is a run of its last axis only when whole runs cover that axis.
  if (run !== null && !hasRuns(a.type, run)) {
    const lanes = [0, 1, 2, 3].map((i) => readRows(w, memory, name, a, rowAxes, kAxes, null, row, `(${k} + ${i}u)`));
    return `vec4<f32>(${lanes.join(", ")})`;
  }
  const index = (): Index => new Map([...unflatten(rowAxes, "row", w.size), ...unflatten(kAxes, "k", w.size)]);
  return callValue(w, memory, `read_${name}`, a, ["row", "k"], index, run, [row, k]);
}
