/** Rows of the ops along time: attention in its variants, delays, recurrences and the delta rule. */
import type { Attrs } from "../../../compiler/graph/attrs.ts";
import type { Node } from "../../../compiler/graph/node.ts";
import type { Axis } from "../../../compiler/graph/type.ts";
import { TIME, hasAxis } from "../../../compiler/graph/type.ts";
import { type Grower, timeAxis } from "./grow.ts";
import { tamed } from "./operands.ts";

export function attendRow(g: Grower): Node | null {
  const channel = g.axis();
  const value = g.draw.next() < 0.4 ? channel : g.axis([channel]);
  const heads = [0, 1]
    .flatMap(() => (g.draw.next() < 0.5 ? [0] : []))
    .reduce<Axis[]>((all) => [...all, g.axis([channel, value, ...all])], []);
  const some = (): readonly Axis[] => heads.filter(() => g.draw.next() < 0.6);
  const kv = some();
  const k = along(g, g.draw.next() < 0.7 ? kv : some(), channel);
  const q = along(g, heads, channel);
  const whole = value.name === channel.name && g.draw.next() < 0.3;
  const v = whole ? k : along(g, kv, value);
  if (q === null || k === null || v === null) return null;
  const sink = g.draw.next() < 0.25 ? [g.param(some())] : [];
  const attrs: Attrs["attend"] = {
    channel: channel.name,
    causal: !g.shared.whole || g.draw.next() < 0.4,
    window: g.draw.next() < 0.4 ? 1 + g.draw.below(4) : null,
    scale: g.draw.of([1, 0.5, 0.25]),
    softcap: g.draw.next() < 0.25 ? g.draw.of([1, 5]) : null,
    ...(g.draw.next() < 0.25 ? { chunk: 1 + g.draw.below(4) } : {}),
    ...(g.draw.next() < 0.15 ? { part: "logsum" as const } : {}),
    state: null,
  };
  return g.make("attend", [tamed(g, q, 40), tamed(g, k, 40), v, ...sink], attrs);
}

export function delayRow(g: Grower): Node | null {
  const x = g.pick((n) => hasAxis(n.type, TIME));
  return x === null
    ? null
    : g.make("delay", [x], {
        by: (g.shared.whole && g.draw.next() < 0.4 ? -1 : 1) * (1 + g.draw.below(4)),
        state: null,
      });
}

export function scanRow(g: Grower): Node | null {
  const x = g.draw.next() < 0.7 ? g.tokens() : g.pick((n) => n.type.dtype !== "bool" && hasAxis(n.type, TIME));
  if (x === null) return null;
  const two = x.type.dtype === "f32" ? x.type.axes.find((a) => a.size.value === 2) : undefined;
  const pair = two === undefined || g.draw.next() < 0.3 ? null : two.name;
  const inside = (n: Node): boolean =>
    n.type.dtype === x.type.dtype &&
    n.type.axes.every((a) => hasAxis(x.type, a.name)) &&
    (pair === null || hasAxis(n.type, pair));
  const a = g.pick(inside) ?? x;
  const factor = x.type.dtype === "f32" && g.largest(a) > 1.5 ? g.must("tanh", [a], {}) : a;
  return g.make("scan", [factor, x], { pair, reverse: backwards(g), state: null });
}

export function deltaRow(g: Grower): Node | null {
  const channel = g.axis();
  const value = g.axis([channel]);
  const heads = g.draw.next() < 0.6 ? [g.axis([channel, value])] : [];
  const [q, k] = [along(g, heads, channel), along(g, heads, channel)];
  const v = along(g, g.draw.next() < 0.8 ? heads : [], value);
  const rate = along(g, g.draw.next() < 0.8 ? heads : [], null);
  if (q === null || k === null || v === null || rate === null) return null;
  // Keys are of length one, or else the memory grows.
  const square = g.must("sum", [g.must("mul", [k, k], {})], { axes: [channel.name] });
  const unit = g.must("mul", [k, g.must("rsqrt", [g.must("add", [square, g.constant(0.125)], {})], {})], {});
  const part = g.draw.next() < 0.85 ? "out" : "error";
  const attrs = { channel: channel.name, part, reverse: backwards(g), state: null } as const;
  return g.make("delta_rule", [q, unit, v, g.must("sigmoid", [rate], {})], attrs);
}

function backwards(g: Grower): boolean {
  return g.shared.whole && g.draw.next() < 0.4;
}

/** Floats of these axes and time: one that there is, or made of tokens by a matrix. */
export function along(g: Grower, heads: readonly Axis[], channel: Axis | null): Node | null {
  const wanted = channel === null ? heads : [...heads, channel];
  const isThat = (n: Node): boolean =>
    n.type.dtype === "f32" &&
    n.type.axes.length === wanted.length + 1 &&
    [timeAxis, ...wanted].every((a) => hasAxis(n.type, a.name));
  const found = g.draw.next() < 0.3 ? g.pick(isThat) : null;
  if (found !== null) return found;
  const x = g.tokens();
  const inner = x.type.axes.find((a) => a.size.value !== null && !wanted.some((w) => w.name === a.name));
  if (inner === undefined) return null;
  const others = x.type.axes.filter((a) => a !== inner && a.name !== TIME && !wanted.some((w) => w.name === a.name));
  const own = wanted.filter((w) => !hasAxis(x.type, w.name));
  const product = g.make("dot", [x, g.param([...own, inner])], { axes: [inner.name] }, false);
  if (product === null) return null;
  const summed = others.length === 0 ? product : g.make("sum", [product], { axes: others.map((a) => a.name) }, false);
  return summed === null ? null : tamed(g, summed, 8);
}
