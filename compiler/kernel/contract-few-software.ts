/**
 * One to a few rows on a software adapter: a streaming read of the weights. One row: four columns per invocation and a
 * loop of five loads. Several rows: as many as share a load of the weights, by the same loop as the `many` kernels,
 * chosen when the kernel runs. Routed: a workgroup per slot, or, with `combine`, per token over all its slots.
 */
import type { ColumnGroup, ContractKernel, ContractSpec, ContractTemplate, Routing } from "./contract.ts";
import {
  chooseBank,
  columnBlocks,
  denseRows,
  forEachGroup,
  rowOfSlot,
  storeRow,
  storeRows,
  vectorOf,
} from "./places.ts";
import { emitRowBlock } from "./row-block.ts";
import { fixedLanes, tuning } from "./tuning.ts";
import { KernelWriter } from "./writer.ts";

export const contractFewSoftware: ContractTemplate = {
  name: "few-software",
  regime: "few",
  suits: (_, device) => device.kind === "software",
  emit(spec, device) {
    const lanes = fixedLanes(device);
    if (spec.routing !== null) return emitGather(spec, spec.routing, lanes ?? 8);
    return emitFew(spec, lanes, Math.max(lanes ?? 4, lanes === null ? 4 : tuning.software.fewRows));
  },
};

function emitFew(spec: ContractSpec, lanes: number | null, height: number): ContractKernel {
  const w = new KernelWriter();
  const invocations = lanes ?? 8;
  const width = invocations * 4;
  const rows = denseRows(w, spec, height, columnBlocks(spec, width).total);
  const aRow = (i: string): string => rows.aRow(`min(${i}, ${rows.count} - 1u)`);
  const body = forEachGroup(spec, width, columnOf(invocations), (group) => {
    const vector = w.fresh("vector");
    const at = { bank: null, vector, from: "0u", step: 4 };
    const one = emitRowBlock(w, spec, group, { ...at, rows: 1, lanes: null, aRow: () => rows.aRow("0u") });
    const several = emitRowBlock(w, spec, group, { ...at, rows: height, lanes, aRow });
    return `let ${vector} = ${vectorOf(group)};
if (${rows.count} == 1u) {
${one.text}
if (column < ${group.cols}u) {
${storeRow(
  w,
  group,
  rows.row("0u"),
  one.sums.map((s) => s[0] as string),
)}
}
} else {
${several.text}
${storeRows(w, group, rows, several.sums)}
}`;
  });
  const module = w.finish(spec.id, [invocations, 1, 1], `${rows.text}\n${body}`);
  return { module, grid: [rows.grid, 1, 1], bindings: w.bindings, constants: w.constants };
}

function emitGather(spec: ContractSpec, routing: Routing, invocations: number): ContractKernel {
  const w = new KernelWriter();
  const width = invocations * 4;
  const { total } = columnBlocks(spec, width);
  const index = w.bind(routing.index, "array<u32>", "read");
  const sum = (group: ColumnGroup, slot: string): { readonly text: string; readonly sums: readonly string[] } => {
    const aRow = (): string => rowOfSlot(routing, slot);
    const { text, sums } = emitRowBlock(w, spec, group, {
      rows: 1,
      lanes: null,
      aRow,
      bank: "bank",
      vector: "vector",
      from: "0u",
      step: 4,
    });
    return { text, sums: sums.map((s) => s[0] as string) };
  };
  const one = (group: ColumnGroup): string => {
    const { text, sums } = sum(group, "row");
    return `${chooseBank(w, spec, `${index}[row]`, "return;")}
${text}
if (column < ${group.cols}u) {
${storeRow(w, group, "row", sums)}
}`;
  };
  const combined = (group: ColumnGroup, scale: (w: KernelWriter, slot: string) => string): string => {
    const totals = group.matrices.map(() => w.fresh("total"));
    const { text, sums } = sum(group, "slot");
    return `${totals.map((t) => `var ${t} = vec4<f32>();`).join("\n")}
for (var slot = row * ${routing.slots}u; slot < (row + 1u) * ${routing.slots}u; slot++) {
${chooseBank(w, spec, `${index}[slot]`, "continue;")}
${text}
let scale = ${scale(w, "slot")};
${totals.map((t, i) => `${t} += scale * ${sums[i]};`).join("\n")}
}
if (column < ${group.cols}u) {
${storeRow(w, group, "row", totals)}
}`;
  };
  const body = forEachGroup(spec, width, columnOf(invocations), (group) => {
    const inner = routing.combine === null ? one(group) : combined(group, routing.combine.scale);
    return `let vector = ${vectorOf(group)};\n${inner}`;
  });
  const text = `
let row = group / ${total}u;
let block = group % ${total}u;
if (row >= ${spec.rowCount(w)}) { return; }
${body}`;
  const module = w.finish(spec.id, [invocations, 1, 1], text);
  return { module, grid: [["*", spec.rows, total], 1, 1], bindings: w.bindings, constants: w.constants };
}

function columnOf(invocations: number): (block: string) => string {
  return (block) => `(${block} * ${invocations}u + lane) * 4u`;
}
