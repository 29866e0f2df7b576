/** What a kernel over heads leaves: its result, a value channel of a head at a token, goes through the kernel's epilogue and is stored. */
import type { Node } from "../../graph/node.ts";
import type { Axis } from "../../graph/type.ts";
import { TIME } from "../../graph/type.ts";
import type { KernelWriter } from "../kernel/writer.ts";
import type { Store } from "../schedule/kernel.ts";
import type { LowerContext } from "./context.ts";
import { Emitter } from "./emit.ts";
import type { Run } from "./indexing.ts";
import { unflatten } from "./indexing.ts";
import type { Memory } from "./place.ts";
import { emitStore } from "./store.ts";

/** Where the kernel stands: names of its variables for the token, the head and the channel. */
export interface HeadPlace {
  readonly token: string;
  readonly head: string;
  readonly channel: string;
}

/** The lines that store what is made of `values`, the variables that hold the kernel's results [T, heads..., value] at a place; vec4s along `run`. */
export function storeHead(
  w: KernelWriter,
  context: LowerContext,
  memory: Memory,
  stores: readonly Store[],
  values: ReadonlyMap<Node, string>,
  axes: { readonly heads: readonly Axis[]; readonly value: Axis },
  { token, head, channel }: HeadPlace,
  run: Run,
): string {
  const e = new Emitter(w, memory, (node) => values.get(node) ?? null);
  const places = [[TIME, token], ...unflatten(axes.heads, head, w.size), [axes.value.name, channel]] as const;
  const index = new Map(places.map(([label, text]) => [label, e.name(text)]));
  for (const store of stores) emitStore(e, context, memory, store, index, run, e.value(store.node, index, run));
  return e.flush();
}
