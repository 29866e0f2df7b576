/**
 * Fills in a `ContractionSpec` for a contraction kernel: where A is read, what is stored at each column, how rows choose
 * their bank. A weight in several parts gives one dispatch per part, told apart by override constants.
 */
import { Dim } from "../../graph/dim.ts";
import type { Node } from "../../graph/node.ts";
import type { Axis } from "../../graph/type.ts";
import { findAxis } from "../../graph/type.ts";
import type { ColumnGroup, ContractionSpec, MatrixOperand, Routing } from "../kernel/contraction/contraction.ts";
import { chooseContraction } from "../kernel/select.ts";
import type { ContractionGroup, ContractionKernel } from "../schedule/kernel.ts";
import type { Matrix } from "../../graph/matrix.ts";
import type { LowerContext, Lowered } from "./context.ts";
import { Emitter } from "./emit.ts";
import { groupBuffers } from "./group-kernel.ts";
import type { Run } from "./indexing.ts";
import { hasRuns, unflatten } from "./indexing.ts";
import type { Memory, ParameterPlace } from "./place.ts";
import { count, partBinding } from "./place.ts";
import { callValue } from "./prologue.ts";
import { readRows } from "./read-rows.ts";
import { fixedSize, sizeOf } from "./size.ts";
import { emitStore } from "./store.ts";

export function lowerContraction(kernel: ContractionKernel, id: string, context: LowerContext): readonly Lowered[] {
  const parts = partsOf(kernel, context);
  return parts.map((part) => {
    const spec = specOf(kernel, id, context, part);
    return chooseContraction(spec, context.regime, context.device, context.force.contraction);
  });
}

/** Numbers of the parts; kernels with a weight in parts have one matrix per group and one group. */
function partsOf(kernel: ContractionKernel, context: LowerContext): readonly number[] {
  const [first] = kernel.groups.flatMap((g) => g.matrices);
  return first === undefined ? [] : context.parameterOf(first.param).parts.map((_, i) => i);
}

function specOf(kernel: ContractionKernel, id: string, context: LowerContext, part: number): ContractionSpec {
  const memory = context.memoryFor(kernel);
  const first = kernel.groups[0]!.matrices[0]!;
  const rowAxes = first.rowLabels.map((name) => axisOfRow(first, name));
  const kAxes = first.kLabels.map((name) => findAxis(first.a.type, name)!);
  const { combine } = kernel;
  const outRows = combine === null ? rowAxes : rowAxes.slice(0, -1);
  const rows = Dim.product(outRows.map((a) => a.size));
  const aRows = rowAxes.filter((axis) => findAxis(first.a.type, axis.name) !== null);
  return {
    id,
    k: count(kAxes),
    rows: sizeOf(rows),
    rowCount: (w) => w.size(rows),
    a: (w, width, row, k) =>
      readRows(w, memory, "a", first.a, aRows, kAxes, width === 4 ? kAxes.at(-1)!.name : null, row, k),
    groups: kernel.groups.map((group) => columnGroup(kernel, group, outRows, context, memory, part)),
    routing:
      first.index === null
        ? null
        : routingOf(kernel, first, first.index, context, memory, aRows.length < rowAxes.length),
  };
}

function columnGroup(
  kernel: ContractionKernel,
  group: ContractionGroup,
  rowAxes: readonly Axis[],
  context: LowerContext,
  memory: Memory,
  part: number,
): ColumnGroup {
  const first = group.matrices[0]!;
  const nAxes = first.nLabels.map((name) => findAxis(first.dot.type, name)!);
  const inner = nAxes.at(-1)?.name ?? null;
  const operands = group.matrices.map((m) => operandOf(m, context.parameterOf(m.param), part));
  const [{ part: cut }] = operands as [MatrixOperand];
  const stores = kernel.stores.filter((s) => s.node === group.root);
  return {
    cols: cut.split === "n" ? cut.count : count(nAxes),
    matrices: operands,
    store: (w, width, row, col, acc) => {
      const place = (c: string): string =>
        cut.split === "n" && cut.start > 0 ? `(${c} + ${w.constant("column_start", cut.start)})` : c;
      const one = (c: string, run: Run, sums: readonly string[]): string => {
        const e = new Emitter(w, memory, (node) => sumOf(kernel, group, node, sums));
        const places = [...unflatten(rowAxes, row, w.size), ...unflatten(nAxes, place(c), w.size)];
        const index = new Map(places.map(([label, text]) => [label, e.name(text)]));
        const value = e.value(group.root, index, run);
        for (const store of stores) emitStore(e, context, memory, store, index, run, value);
        return e.flush();
      };
      return width === 1 || inner === null || !hasRuns(first.dot.type, inner)
        ? splitLanes(width, col, acc, one)
        : one(col, inner, acc);
    },
  };
}

/** A store of four columns as four of one. */
export function splitLanes(
  width: 1 | 4,
  col: string,
  acc: readonly string[],
  one: (c: string, run: Run, sums: readonly string[]) => string,
): string {
  if (width === 1) return one(col, null, acc);
  return ["x", "y", "z", "w"]
    .map(
      (f, i) =>
        `{\n${one(
          `(${col} + ${i}u)`,
          null,
          acc.map((a) => `${a}.${f}`),
        )}\n}`,
    )
    .join("\n");
}

/** The sum that a node of the epilogue stands for. */
function sumOf(kernel: ContractionKernel, group: ContractionGroup, node: Node, sums: readonly string[]): string | null {
  if (kernel.combine !== null) return node === kernel.combine.sum ? (sums[0] ?? null) : null;
  const i = group.matrices.findIndex((m) => m.dot === node);
  return i < 0 ? null : (sums[i] ?? null);
}

function operandOf(matrix: Matrix, place: ParameterPlace, part: number): MatrixOperand {
  const { start, count: n } = place.parts[part]!;
  const split = place.layout.kind === "matrix" ? place.layout.split : "n";
  const columns = count(matrix.n.map((name) => findAxis(matrix.param.type, name)!));
  const transposed = place.layout.kind === "matrix" && place.layout.n.join() !== matrix.n.join();
  const whole = place.parts.length === 1;
  return {
    binding: partBinding(place, part),
    storage: place.storage,
    transposed,
    part: { split, start, count: whole && split === "n" ? columns : n },
  };
}

function routingOf(
  kernel: ContractionKernel,
  first: Matrix,
  index: Node,
  context: LowerContext,
  memory: Memory,
  perToken: boolean,
): Routing {
  const banks = fixedSize(findAxis(first.param.type, first.bank[0]!)!);
  const choices = fixedSize(index.type.axes.at(-1)!);
  const binding = memory.bufferOf(index);
  if (binding === null) throw new Error(`the index of ${first.param.attrs.path} is not in memory`);
  const grouped = context.regime === "prefill" ? groupBuffers(context, index, binding, banks) : null;
  const { combine } = kernel;
  return {
    banks,
    choices,
    index: binding,
    aPer: perToken ? "token" : "choice",
    order: grouped?.order ?? null,
    tiles: grouped?.tiles ?? null,
    tileRows: grouped?.tileRows ?? 0,
    combine:
      combine === null
        ? null
        : {
            scale: (w, choice) => {
              const axes = index.type.axes;
              const values = combine.scales.map((node, i) =>
                callValue(w, memory, `scale${i}`, node, ["choice"], () => unflatten(axes, "choice", w.size), null, [
                  choice,
                ]),
              );
              return values.length === 0 ? "1.0" : values.join(" * ");
            },
          },
  };
}

function axisOfRow(matrix: Matrix, name: string): Axis {
  return findAxis(matrix.index?.type ?? matrix.a.type, name)!;
}
