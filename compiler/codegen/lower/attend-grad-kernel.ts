/** Fills in an `AttendGradSpec`: heads from the axes of queries and of what the gradient is of, operands through functions of the module. */
import type { Node } from "../../graph/node.ts";
import { TIME, findAxis } from "../../graph/type.ts";
import { valueChannel } from "../../ops/attend.ts";
import { isMismatch } from "../../ops/mismatch.ts";
import type { AttendGradSpec, ReadHead, StoreHead } from "../kernel/attend-grad/attend-grad.ts";
import { chooseAttendGrad } from "../kernel/select.ts";
import { ownHeads } from "../schedule/attention.ts";
import type { AttendGradKernel } from "../schedule/kernel.ts";
import type { LowerContext, Lowered } from "./context.ts";
import type { Index } from "./indexing.ts";
import { flatten, unflatten } from "./indexing.ts";
import { count } from "./place.ts";
import { callValue } from "./prologue.ts";
import { sizeOf } from "./size.ts";
import { storeHead } from "./store-head.ts";

export function lowerAttendGrad(kernel: AttendGradKernel, id: string, context: LowerContext): Lowered {
  const { gradient } = kernel;
  const [q, k, v, ct, rows] = gradient.inputs as readonly [Node, Node, Node, Node, Node];
  const { channel, causal, scale, window, softcap, chunk = null, part } = gradient.attrs;
  const memory = context.memoryFor(kernel);
  const value = valueChannel(q.type, v.type, channel);
  if (isMismatch(value)) throw new Error(value.message);
  const heads = q.type.axes.filter((a) => a.name !== TIME && a.name !== channel);
  const owners = ownHeads(gradient);
  const members = heads.filter((h) => !owners.some((o) => o.name === h.name));
  const width = findAxis(q.type, channel)!;

  const pair = rows.type.axes.find((a) => a.name !== TIME && !heads.some((h) => h.name === a.name))!;
  const indexOf = (inner: string) => (): Index =>
    new Map([[TIME, "token"], ...unflatten(heads, "head"), [inner, "c"] as const]);
  const read =
    (name: string, node: Node, inner: string): ReadHead =>
    (w, lanes, token, head, c) => {
      const run = lanes === 4 ? inner : null;
      return callValue(w, memory, `read_${name}`, node, ["token", "head", "c"], indexOf(inner), run, [token, head, c]);
    };
  const storeOf = (byValue: boolean): StoreHead | null => {
    const node = kernel.computes.find((n) => ((n as typeof gradient).attrs.part === "v") === byValue);
    if (node === undefined) return null;
    const own = byValue ? value : width;
    return (w, lanes, token, head, c, result) => {
      const stores = kernel.stores.filter((x) => x.node === node);
      const run = lanes === 4 ? own.name : null;
      const place = { token, head, channel: c };
      return storeHead(
        w,
        context,
        memory,
        stores,
        new Map([[node, result]]),
        { heads: owners, value: own },
        place,
        run,
      );
    };
  };
  const spec: AttendGradSpec = {
    id,
    owner: part === "q" ? "query" : "key",
    owners: count(owners),
    members: count(members),
    headOf: (owner, member) => flatten(heads, new Map([...unflatten(owners, owner), ...unflatten(members, member)])),
    channels: count([width]),
    valueChannels: count([value]),
    causal,
    scale,
    window,
    softcap,
    chunk,
    rows: sizeOf(findAxis(q.type, TIME)!.size),
    q: read("q", q, channel),
    k: read("k", k, channel),
    v: read("v", v, value.name),
    ct: read("ct", ct, value.name),
    row: (w, token, head, which) => read("row", rows, pair.name)(w, 1, token, head, `${which}u`),
    slot: memory.builtin("slot"),
    runs: memory.builtin("runs"),
    storeScored: storeOf(false),
    storeValue: storeOf(true),
  };
  return chooseAttendGrad(spec, context.device, context.force.attendGrad);
}
