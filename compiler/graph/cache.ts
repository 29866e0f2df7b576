/** How an attention op's keys and values are kept between steps. */
import type { Node } from "./node.ts";
import { isOp } from "./node.ts";
import type { Axis } from "./type.ts";
import { TIME } from "./type.ts";

/** Axes of one token's row in the caches: heads in the order of the keys, the key's channel, the value's channel. */
export interface CacheAxes {
  readonly heads: readonly Axis[];
  readonly key: Axis;
  readonly value: Axis;
}

export function cacheAxes(attend: Node<"attend">): CacheAxes {
  const [q, k, v] = attend.inputs as readonly [Node, Node, Node, Node?];
  const queryHeads = q.type.axes.filter((a) => a.name !== TIME && a.name !== attend.attrs.channel);
  const isHead = (a: Axis): boolean => queryHeads.some((h) => h.name === a.name);
  const value = v.type.axes.find((a) => a.name === attend.attrs.channel || (a.name !== TIME && !isHead(a)));
  const key = k.type.axes.find((a) => a.name === attend.attrs.channel);
  if (value === undefined || key === undefined) throw new Error("attend has no channel");
  // Values may lack heads that keys have and the other way round: the caches hold all of either.
  const heads = queryHeads.filter((h) => [k, v].some((x) => x.type.axes.some((a) => a.name === h.name)));
  return { heads, key, value };
}

/** Whether the values are the first channels of the keys, so that one cache holds both. */
export function valuesInKeys(attend: Node<"attend">): boolean {
  const [, k, v] = attend.inputs as readonly [Node, Node, Node, Node?];
  if (!isOp(v, "slice") || v.inputs[0] !== k || v.attrs.start !== 0 || v.attrs.axis !== attend.attrs.channel)
    return false;
  const width = k.type.axes.find((a) => a.name === attend.attrs.channel)?.size.value ?? 1;
  // Both are read four channels at a time.
  return k.type.axes.length === 2 && width % 4 === 0 && (v.attrs.to.size.value ?? 1) % 4 === 0;
}
