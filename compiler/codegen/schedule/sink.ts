/** What goes into buffers that are kept across steps: no kernel reads it there. */
import type { Node } from "../../graph/node.ts";
import { isOp } from "../../graph/node.ts";
import type { KeptPlace } from "./kernel.ts";

export interface Sink {
  readonly node: Node;
  readonly kept: KeptPlace;
}

/** A place for a node: views that only name or order axes otherwise are looked through, so that what works the node out can leave it there. */
export function sinkOf(node: Node, kept: KeptPlace): Sink {
  const [x] = node.inputs;
  if (x !== undefined && isOp(node, "transpose")) return sinkOf(x, kept);
  if (x === undefined || !isOp(node, "rename")) return { node, kept };
  const { from, to } = node.attrs;
  const named = (name: string): string => (name === to ? from : name);
  const names = (list: readonly string[]): readonly string[] => list.map(named);
  const { layout } = kept;
  return sinkOf(x, {
    ...kept,
    axes: kept.axes.map((a) => ({ ...a, name: named(a.name) })),
    layout:
      layout.kind === "plain"
        ? layout
        : { ...layout, bank: names(layout.bank), k: names(layout.k), n: names(layout.n) },
  });
}
