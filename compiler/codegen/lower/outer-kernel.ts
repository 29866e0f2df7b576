/** Fills in an `OuterSpec` for a product over tokens: where its sides are read and its sums stored. */
import { Dim } from "../../graph/dim.ts";
import type { Node } from "../../graph/node.ts";
import type { Axis } from "../../graph/type.ts";
import { findAxis } from "../../graph/type.ts";
import type { OuterSide, OuterSpec } from "../kernel/outer/outer.ts";
import { chooseOuter } from "../kernel/select.ts";
import type { OuterKernel } from "../schedule/kernel.ts";
import type { LowerContext, Lowered } from "./context.ts";
import { splitLanes } from "./contract-kernel.ts";
import { Emitter } from "./emit.ts";
import type { Run } from "./indexing.ts";
import { hasRuns, unflatten } from "./indexing.ts";
import type { Memory } from "./place.ts";
import { count, innerOf } from "./place.ts";
import { readRows } from "./read-rows.ts";
import { emitStore } from "./store.ts";

/** One dispatch, and where tokens are divided another that adds the parts up. */
export function lowerOuter(kernel: OuterKernel, id: string, context: LowerContext): readonly Lowered[] {
  const [first, ...more] = chooseOuter(specOf(kernel, id, context), context.device, context.force.outer);
  return [first!, ...more.map((ending) => ({ ...ending, ends: true as const }))];
}

function specOf(kernel: OuterKernel, id: string, context: LowerContext): OuterSpec {
  const memory = context.memoryFor(kernel);
  const { outer, root, stores } = kernel;
  const tokens = axesOf(outer.left, outer.tokens);
  const sides = [
    { node: outer.left, axes: axesOf(outer.left, outer.rows) },
    { node: outer.right, axes: axesOf(outer.right, outer.columns) },
  ] as const;
  // Columns are the side whose elements lie side by side where they go.
  const [{ kept = null } = {}] = stores;
  const inner = kept === null ? root.type.axes.at(-1)?.name : innerOf(kept);
  const turned = sides[0].axes.at(-1)?.name === inner;
  const [left, right] = turned ? [sides[1], sides[0]] : sides;
  const run = right.axes.at(-1)!.name;
  return {
    id,
    k: count(left.axes),
    n: count(right.axes),
    tokens: (w) => w.size(Dim.product(tokens.map((a) => a.size))),
    left: sideOf(memory, "left", left.node, tokens, left.axes),
    right: sideOf(memory, "right", right.node, tokens, right.axes),
    groups: null,
    partial: (elements) => context.scratch(`partial${elements}`, "f32", elements),
    store(w, width, row, col, [sum]) {
      const one = (c: string, along: Run, sums: readonly string[]): string => {
        const e = new Emitter(w, memory, (node) => (node === outer.dot ? sums[0]! : null));
        const places = [...unflatten(left.axes, row, w.size), ...unflatten(right.axes, c, w.size)];
        const index = new Map(places.map(([label, text]) => [label, e.name(text)]));
        const value = e.value(root, index, along);
        for (const store of stores) emitStore(e, context, memory, store, index, along, value);
        return e.flush();
      };
      return width === 4 && hasRuns(outer.dot.type, run) ? one(col, run, [sum!]) : splitLanes(width, col, [sum!], one);
    },
  };
}

function sideOf(memory: Memory, name: string, node: Node, tokens: readonly Axis[], axes: readonly Axis[]): OuterSide {
  return (w, width, token, place) =>
    readRows(w, memory, name, node, tokens, axes, width === 4 ? axes.at(-1)!.name : null, token, place);
}

function axesOf({ type }: Node, names: readonly string[]): readonly Axis[] {
  return names.map((name) => findAxis(type, name)!);
}
