/** Fills in a `DeltaSpec`: heads from the axes of the result, operands read through functions of the module. */
import type { Node } from "../../graph/node.ts";
import { TIME } from "../../graph/type.ts";
import type { KernelWriter } from "../kernel/writer.ts";
import { chooseDelta } from "../kernel/select.ts";
import { deltaAxes } from "../../ops/delta.ts";
import { stateOf } from "../../ops/states.ts";
import type { RecurrenceKernel } from "../schedule/kernel.ts";
import type { LowerContext, Lowered } from "./context.ts";
import type { Index } from "./indexing.ts";
import { unflatten } from "./indexing.ts";
import { count } from "./place.ts";
import { callValue } from "./prologue.ts";
import { storeHead } from "./store-head.ts";

export function lowerDelta(
  kernel: RecurrenceKernel,
  delta: Node<"delta_rule">,
  id: string,
  context: LowerContext,
): Lowered {
  const memory = context.memoryFor(kernel);
  const [q, k, v, beta] = delta.inputs as [Node, Node, Node, Node];
  const { heads, channel, value } = deltaAxes(delta);
  const { reverse, part } = delta.attrs;
  const indexOf = (inner: string | null) => (): Index =>
    new Map([[TIME, "token"], ...unflatten(heads, "head"), ...(inner === null ? [] : [[inner, "c"] as const])]);
  const read = (name: string, node: Node, inner: string | null) => {
    const names = inner === null ? ["token", "head"] : ["token", "head", "c"];
    return (w: KernelWriter, ...at: string[]): string =>
      callValue(w, memory, `read_${name}`, node, names, indexOf(inner), null, at);
  };
  const spec = {
    id,
    heads: count(heads),
    channels: count([channel]),
    values: count([value]),
    memory: reverse ? null : ({ kind: "state", id: stateOf(delta, "s").id } as const),
    reverse,
    part,
    runs: memory.builtin("runs"),
    q: read("q", q, channel.name),
    k: read("k", k, channel.name),
    v: read("v", v, value.name),
    beta: read("beta", beta, null),
    store: (w: KernelWriter, token: string, head: string, channel: string, result: string): string =>
      storeHead(
        w,
        context,
        memory,
        kernel.stores,
        new Map([[delta, result]]),
        { heads, value },
        { token, head, channel },
        null,
      ),
  };
  return chooseDelta(spec, context.regime, context.device, context.force.delta);
}
