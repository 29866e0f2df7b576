/** Fills in an `AttendSpec`: heads from the axes of the result, keys and values from the caches that this step has appended to. */
import type { Node } from "../../graph/node.ts";
import { TIME, findAxis, hasAxis } from "../../graph/type.ts";
import type { AttendSpec, LoadCache } from "../kernel/attend/attend.ts";
import { chooseAttend } from "../kernel/select.ts";
import { readerOf } from "../kernel/stored.ts";
import type { AttendKernel, Store } from "../schedule/kernel.ts";
import { cacheAxes, valuesInKeys } from "../../graph/cache.ts";
import { type NamedState, stateOf } from "../../ops/states.ts";
import type { LowerContext, Lowered } from "./context.ts";
import type { Index } from "./indexing.ts";
import { flatten, unflatten } from "./indexing.ts";
import { count } from "./place.ts";
import { callValue } from "./prologue.ts";
import { sizeOf } from "./size.ts";
import { storeHead } from "./store-head.ts";
import { rowsText, storeOf } from "./store.ts";

export function lowerAttend(kernel: AttendKernel, id: string, context: LowerContext): Lowered {
  const { attend } = kernel;
  const [q, k, , sink] = attend.inputs as readonly [Node, Node, Node, Node?];
  const memory = context.memoryFor(kernel);
  const { channel, causal, scale, window, softcap, chunk = null } = attend.attrs;
  const time = findAxis(q.type, TIME)!;
  const heads = q.type.axes.filter((a) => a.name !== TIME && a.name !== channel);
  const width = findAxis(k.type, channel)!;
  const { heads: kvHeads, value } = cacheAxes(attend);
  const [out, logsum] = [false, true].map((isLogsum) =>
    kernel.computes.find((n) => n.op === attend.op && ((n as typeof attend).attrs.part === "logsum") === isLogsum),
  );
  const values = new Map<Node, string>([
    ...(out === undefined ? [] : [[out, "result"] as const]),
    ...(logsum === undefined ? [] : [[logsum, "logsum"] as const]),
  ]);
  // What is stored of the logarithm has no value channel.
  const [ofRows, ofChannels] = [false, true].map((has) =>
    kernel.stores.filter((x) => hasAxis(x.node.type, value.name) === has),
  ) as [Store[], Store[]];
  const keys = stateOf(attend, "k");
  const loadOf =
    (state: NamedState): LoadCache =>
    (w, width) =>
      readerOf(w, { kind: "state", id: state.id }, storeOf(state, context.cache), width);
  const spec: AttendSpec = {
    id,
    heads: count(heads),
    kvHeads: count(kvHeads),
    kvHeadOf: (head) => flatten(kvHeads, unflatten(heads, head)),
    channels: count([width]),
    valueChannels: count([value]),
    scale,
    window,
    softcap,
    chunk,
    sink:
      sink === undefined
        ? null
        : (w, head) => callValue(w, memory, "read_sink", sink, ["head"], () => unflatten(heads, "head"), null, [head]),
    rows: sizeOf(time.size),
    q: (w, lanes, token, head, c) => {
      const index = (): Index => new Map([[TIME, "token"], ...unflatten(heads, "head"), [channel, "c"]]);
      return callValue(w, memory, "read_q", q, ["token", "head", "c"], index, lanes === 4 ? channel : null, [
        token,
        head,
        c,
      ]);
    },
    keys: loadOf(keys),
    values: loadOf(valuesInKeys(attend) ? keys : stateOf(attend, "v")),
    valueRow: valuesInKeys(attend) ? count([width]) : count(kvHeads) * count([value]),
    ring: (w) => rowsText(w, keys.rows, context.stepTokens),
    position: memory.builtin("position"),
    slot: memory.builtin("slot"),
    ahead: causal ? null : memory.builtin("runs"),
    storeLogsum:
      logsum === undefined
        ? null
        : (w, token, head) =>
            storeHead(w, context, memory, ofRows, values, { heads, value }, { token, head, channel: "0u" }, null),
    store: (w, lanes, token, head, channel, result) => {
      if (out === undefined) return "";
      const own = new Map(values).set(out, result);
      const run = lanes === 4 ? value.name : null;
      return storeHead(w, context, memory, ofChannels, own, { heads, value }, { token, head, channel }, run);
    },
  };
  return chooseAttend(spec, context.regime, context.device, context.force.attend);
}
