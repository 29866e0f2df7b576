/**
 * Functions that mix positions by what came before: attention, delays, recurrences, the delta rule. Where only some tokens are there
 * (`within`), the others are no keys and change no state.
 */
import { LIMITS } from "../../../grammar/limits.ts";
import { Dim } from "../../graph/dim.ts";
import type { Node } from "../../graph/node.ts";
import { hasAxis, TIME } from "../../graph/type.ts";
import { freshLabel } from "../../ops/gradient.ts";
import { axisOf } from "../../ops/typing.ts";
import { resolveAxis } from "./axes.ts";
import type { Env } from "./context.ts";
import { addNode } from "./add-node.ts";
import { report } from "./context.ts";
import type { Given } from "./given.ts";
import { flagOption, numberAt, numberOption, withAxis, withNodes } from "./given.ts";
import type { Value } from "./value.ts";
import { ERROR } from "./value.ts";
import { onlyKept } from "./within.ts";

export const timeBuiltins = {
  attend: (g) => withNodes(g, Math.max(3, g.positional.length), (nodes) => attend(g, nodes)),
  cumsum: (g) => withNodes(g, 1, ([x]) => withAxis(g, ({ name }) => cumsum(g, x!, name))),
  delay: (g) => withNodes(g, 1, ([x]) => delay(g, x!)),
  conv: (g) => withNodes(g, 2, ([x, w]) => withAxis(g, ({ name }) => convolve(g, x!, w!, name))),
  scan: (g) =>
    withNodes(g, 2, ([a, b]) => {
      const attrs = { pair: pairAxis(g), reverse: false, state: null };
      return addNode(whole(g), "scan", [kept(g, a!, attrs.pair), onlyKept(g.env, b!, 0)], attrs, g.span);
    }),
  delta_rule: (g) =>
    withNodes(g, 4, ([q, k, v, beta]) =>
      withAxis(g, ({ name: channel }) => {
        const attrs = { channel, part: "out", reverse: false, state: null } as const;
        return addNode(whole(g), "delta_rule", [q!, k!, v!, onlyKept(g.env, beta!, 0)], attrs, g.span);
      }),
    ),
} satisfies Readonly<Record<string, (g: Given) => Value>>;

/** For nodes that have seen to tokens that are not there. */
function whole({ env }: Given): Env {
  return { ...env, kept: null };
}

/** A recurrence's factor: at tokens that are not there 1, as a complex number where it is one. */
function kept({ env }: Given, a: Node, pair: string | null): Node {
  if (env.kept == null || pair === null || a.type.dtype !== "f32") return onlyKept(env, a, 1);
  const b = env.ctx.builder;
  const one = b.minus(1, b.cast(b.iota({ name: pair, size: Dim.of(2), origin: null }), "f32"));
  return b.select(env.kept, a, one);
}

function cumsum(g: Given, x: Node, axis: string): Value {
  const exclusive = flagOption(g, "exclusive", false);
  if (exclusive === undefined) return ERROR;
  return axis === TIME
    ? addNode(whole(g), "cumsum", [onlyKept(g.env, x, 0)], { axis, exclusive }, g.span)
    : addNode(g.env, "cumsum", [x], { axis, exclusive }, g.span);
}

function attend(g: Given, nodes: readonly Node[]): Value {
  const [q, k] = nodes;
  const named = g.brackets.length > 0 ? resolveAxis(g.env, g.brackets[0]!) : (q!.type.axes.at(-1) ?? null);
  if (named === null) return ERROR;
  const channel = named.name;
  const lacking = [q!, k!].findIndex((x) => !hasAxis(x.type, channel));
  if (lacking >= 0) {
    const who = lacking === 0 ? "queries" : "keys";
    return report(
      g.env,
      "shape/missing-axis",
      `queries and keys are compared over \`${channel}\`, which the ${who} do not have`,
      g.span,
      `${who} have [${nodes[lacking]!.type.axes.map((a) => a.name).join(", ")}]`,
      "name the channel axis: `attend[C](q, k, v)`",
    );
  }
  const scale = numberOption(g, "scale", "number", 1 / Math.sqrt(named.size.value ?? 1));
  const window = numberOption(g, "window", "count", null);
  const softcap = numberOption(g, "softcap", "positive", null);
  const chunk = numberOption(g, "chunk", "count", null);
  const causal = flagOption(g, "causal", true);
  if ([scale, window, softcap, chunk, causal].includes(undefined)) return ERROR;
  if (g.env.kept != null && typeof softcap === "number")
    return report(
      g.env,
      "time/within",
      "attention with a soft cap cannot leave keys out",
      g.span,
      "inside of `within`",
      "attend without `softcap` there",
    );
  return addNode(
    whole(g),
    "attend",
    hideKeys(g.env, nodes, channel),
    {
      channel,
      causal: causal!,
      window: window!,
      scale: scale!,
      softcap: softcap!,
      ...(chunk == null ? {} : { chunk }),
      state: null,
    },
    g.span,
  );
}

/** Far below any score, and finite. */
const HIDDEN = -1e9;
/** Channels are read four at a time. */
const MORE = 4;

/** Keys of tokens that are not there get a channel more, on which every query's is 1: whatever the queries, their scores vanish. */
function hideKeys(env: Env, nodes: readonly Node[], channel: string): readonly Node[] {
  const { kept } = env;
  if (kept == null) return nodes;
  const b = env.ctx.builder;
  const [q, k, ...rest] = nodes as [Node, Node, ...Node[]];
  const own = axisOf(q.type, channel);
  const more = { name: freshLabel(`${channel}'`, [q.type, k.type]), size: Dim.of(MORE), origin: null };
  const first = b.eq(b.iota(more), 0);
  const to = { ...own, size: own.size.plus(more.size) };
  const wider = (x: Node, extra: Node): Node => b.concat([x, b.rename(extra, more.name, channel)], channel, to);
  const one = b.cast(first, "f32");
  const hidden = b.select(b.and(first, b.must("not", [kept], {})), HIDDEN, 0);
  return [wider(q, one), wider(k, hidden), ...rest];
}

function delay(g: Given, x: Node): Value {
  const by = numberAt(g, 1, "the distance", "place", null);
  if (by === undefined) return ERROR;
  if (by !== null)
    return by === 0 ? { kind: "tensor", node: x } : addNode(g.env, "delay", [x], { by, state: null }, g.span);
  return report(
    g.env,
    "type/missing-argument",
    "`delay` goes back a whole number of tokens",
    g.span,
    "not given",
    "write `delay(x, 1)`",
  );
}

/** Each channel a weighted sum of its last tokens, the present one last: Σ_j w_j x_{t - W + 1 + j}. */
function convolve(g: Given, x: Node, w: Node, axis: string): Value {
  const b = g.env.ctx.builder;
  const taps = w.type.axes.find((a) => a.name === axis);
  if (taps === undefined)
    return report(
      g.env,
      "shape/missing-axis",
      `the weights of a convolution lie along \`${axis}\`, which they do not have`,
      g.span,
      `they have [${w.type.axes.map((a) => a.name).join(", ")}]`,
      "name the axis of the weights: `conv[W](x, w)`",
    );
  // A definition on its own has as many taps as it likes: one stands for all.
  const count = taps.size.value ?? 1;
  if (count > LIMITS.taps)
    return report(
      g.env,
      "shape/too-large",
      `axis \`${axis}\` has ${count} weights, and \`conv\` looks at most at ${LIMITS.taps} tokens`,
      taps.origin ?? g.span,
      `${count} comes from here`,
      "choose a shorter window, or use attention with a `window` or a recurrence for a longer one",
      taps.origin === null ? [] : [{ span: g.span, text: "the convolution" }],
    );
  const terms: Node[] = [];
  for (let j = 0; j < count; j++) {
    const by = count - 1 - j;
    const past = by === 0 ? x : nodeOf(addNode(g.env, "delay", [x], { by, state: null }, g.span));
    const tap = b.take(w, b.constant(j, "u32"), axis);
    const term = past && nodeOf(addNode(g.env, "mul", [past, tap], {}, g.span));
    if (term === null) return ERROR;
    terms.push(term);
  }
  return { kind: "tensor", node: terms.reduce((sum, term) => b.plus(sum, term)) };
}

function nodeOf(value: Value): Node | null {
  return value.kind === "tensor" ? value.node : null;
}

/** `scan[P](a, b)`: P holds real and imaginary parts. */
function pairAxis(g: Given): string | null {
  const [item] = g.brackets;
  return item === undefined ? null : (resolveAxis(g.env, item)?.name ?? null);
}
