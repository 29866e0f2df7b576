/** Sorting the choices of an index by bank, once per index and step; routed contractions of many rows read the result. */
import type { KernelWriter } from "../kernel/writer.ts";
import type { Node } from "../../graph/node.ts";
import { emitGroup, tilesElements } from "../kernel/contraction/group.ts";
import { tileRowsFor } from "../kernel/tuning.ts";
import type { Binding } from "../../plan/plan.ts";
import { Dim } from "../../graph/dim.ts";
import type { GroupKernel } from "../schedule/kernel.ts";
import type { LowerContext, Lowered } from "./context.ts";
import { elementsOf } from "./size.ts";

export function lowerGroup(kernel: GroupKernel, id: string, context: LowerContext): Lowered {
  const { index, banks } = kernel;
  const binding = context.memoryFor(kernel).bufferOf(index);
  if (binding === null) throw new Error(`the index %${index.id} is not in memory`);
  const choices = Dim.product(index.type.axes.map((a) => a.size));
  const spec = {
    id,
    banks,
    choices: elementsOf(index),
    choiceCount: (w: KernelWriter) => w.size(choices),
    index: binding,
  };
  return emitGroup({ ...spec, ...groupBuffers(context, index, binding, banks) }, context.device);
}

/** Where the order and the tiles of an index lie: beside the index. */
export function groupBuffers(
  context: LowerContext,
  index: Node,
  binding: Binding,
  banks: number,
): { readonly order: Binding; readonly tiles: Binding; readonly tileRows: number } {
  const tileRows = tileRowsFor(context.device);
  const choices = elementsOf(index);
  const beside = binding.kind === "buffer" ? binding.id : `${index.id}`;
  return {
    order: context.scratch(`${beside}.order${banks}`, "u32", choices),
    tiles: context.scratch(`${beside}.tiles${banks}`, "u32", tilesElements(choices, banks, tileRows)),
    tileRows,
  };
}
