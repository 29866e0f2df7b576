/** Fills in an `OuterSpec` for a product over tokens: where its sides are read and its sums stored, and how choices are grouped by bank. */
import { Dim } from "../../graph/dim.ts";
import type { Outer, OuterOperand } from "../../graph/outer.ts";
import type { Axis } from "../../graph/type.ts";
import type { OuterGroups, OuterSide, OuterSpec } from "../kernel/outer/outer.ts";
import { chooseOuter } from "../kernel/select.ts";
import type { OuterKernel } from "../schedule/kernel.ts";
import type { LowerContext, Lowered } from "./context.ts";
import { splitLanes } from "./contraction-kernel.ts";
import { Emitter } from "./emit.ts";
import { groupBuffers } from "./group-kernel.ts";
import type { Run } from "./indexing.ts";
import { hasRuns, unflatten } from "./indexing.ts";
import type { Memory } from "./place.ts";
import { count, innerOf } from "./place.ts";
import { readRows } from "./read-rows.ts";
import { fixedSize } from "./size.ts";
import { emitStore } from "./store.ts";

/** One dispatch, and where tokens are divided another that adds the parts up. */
export function lowerOuter(kernel: OuterKernel, id: string, context: LowerContext): readonly Lowered[] {
  const [first, ...more] = chooseOuter(specOf(kernel, id, context), context.device, context.force.outer);
  return [first!, ...more.map((ending) => ({ ...ending, ends: true as const }))];
}

function specOf(kernel: OuterKernel, id: string, context: LowerContext): OuterSpec {
  const memory = context.memoryFor(kernel);
  const { outer, root, stores } = kernel;
  const { tokens, groups } = outer;
  // Columns are the side whose elements lie side by side where they go.
  const [{ kept = null } = {}] = stores;
  const inner = kept === null ? root.type.axes.at(-1)?.name : innerOf(kept);
  const turned = outer.left.labels.at(-1) === inner;
  const [left, right] = turned ? [outer.right, outer.left] : [outer.left, outer.right];
  const rowAxes = [...(groups === null ? [] : [groups.bank]), ...resultAxes(left)];
  const columnAxes = resultAxes(right);
  const run = columnAxes.at(-1)!.name;
  return {
    id,
    k: count(left.axes),
    n: count(right.axes),
    tokens: (w) => w.size(Dim.product(tokens.map((a) => a.size))),
    left: sideOf(memory, "left", left, tokens),
    right: sideOf(memory, "right", right, tokens),
    groups: groups === null ? null : groupsOf(groups, context, memory),
    partial: (elements) => context.scratch(`partial${elements}`, "f32", elements),
    store(w, width, row, col, [sum]) {
      const one = (c: string, along: Run, sums: readonly string[]): string => {
        const e = new Emitter(w, memory, (node) => (node === outer.sum ? sums[0]! : null));
        const places = [...unflatten(rowAxes, row, w.size), ...unflatten(columnAxes, c, w.size)];
        const index = new Map(places.map(([label, text]) => [label, e.name(text)]));
        const value = e.value(root, index, along);
        for (const store of stores) emitStore(e, context, memory, store, index, along, value);
        return e.flush();
      };
      return width === 4 && hasRuns(outer.sum.type, run) ? one(col, run, [sum!]) : splitLanes(width, col, [sum!], one);
    },
  };
}

function resultAxes({ axes, labels }: OuterOperand): readonly Axis[] {
  return axes.map((axis, i) => ({ ...axis, name: labels[i]! }));
}

function sideOf(memory: Memory, name: string, { node, axes }: OuterOperand, tokens: readonly Axis[]): OuterSide {
  // A side that a token has once is the same for all of its choices.
  return (w, width, token, place) =>
    readRows(w, memory, name, node, tokens, axes, width === 4 ? axes.at(-1)!.name : null, token, place);
}

function groupsOf({ index, bank }: NonNullable<Outer["groups"]>, context: LowerContext, memory: Memory): OuterGroups {
  const binding = memory.bufferOf(index);
  if (binding === null) throw new Error(`the index %${index.id} is not in memory`);
  const banks = fixedSize(bank);
  return { banks, ...groupBuffers(context, index, binding, banks) };
}
