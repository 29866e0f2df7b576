/**
 * What models are made of, as rows beside those of the ops: the shapes that passes look for, which single ops would hardly ever meet in.
 * Routes of all kinds, experts, norms, rotary angles, latents, tokens left out, losses.
 */
import { Dim } from "../../../compiler/graph/dim.ts";
import type { Node } from "../../../compiler/graph/node.ts";
import type { Axis } from "../../../compiler/graph/type.ts";
import { TIME, hasAxis } from "../../../compiler/graph/type.ts";
import { type Grower, Misfit, timeAxis } from "./grow.ts";
import { tamed } from "./operands.ts";
import type { Row } from "./rows.ts";
import { along } from "./time-rows.ts";

export const idioms = {
  norm: (g) => {
    const [x, axis] = channels(g);
    const square = g.must("sum", [g.must("mul", [x, x], {})], { axes: [axis.name] });
    const mean = g.must("div", [square, g.constant(axis.size.value!)], {});
    const scale = g.must("rsqrt", [g.must("add", [mean, g.constant(1 / 128)], {})], {});
    return g.make("mul", [g.must("mul", [x, scale], {}), g.param([axis])], {});
  },
  softmax: (g) => {
    const [x, axis] = channels(g);
    return softmax(g, x, [axis.name]);
  },
  /** For each token its experts, K of N. */
  tokensChoose: (g) => {
    const [x, D, N, y] = experts(g);
    const scores = g.must("dot", [x, g.param([N, D])], { axes: [D.name] });
    const K = g.labelled(Dim.of(1 + g.draw.below(N.size.value!)), [...y.type.axes, N]);
    const index = g.must("topk", [scores], { axis: N.name, k: K, part: "indices" });
    const values = g.must("topk", [scores], { axis: N.name, k: K, part: "values" });
    const of = g.draw.below(3);
    const weight =
      of === 0
        ? softmax(g, values, [K.name])
        : of === 1
          ? g.must("sigmoid", [values], {})
          : g.must("take", [softmax(g, scores, [N.name]), index], { axis: N.name });
    const taken = g.must("take", [y, index], { axis: N.name });
    const weighted = g.must("mul", g.draw.next() < 0.5 ? [weight, taken] : [taken, weight], {});
    return g.make("sum", [weighted], { axes: [K.name] });
  },
  /** Every expert for every token, weighted; weights below a threshold, or beyond a capacity, are none. */
  allExperts: (g) => {
    const [x, D, N, y] = experts(g);
    const scores = g.must("dot", [x, g.param([N, D])], { axes: [D.name] });
    const soft = softmax(g, scores, [N.name]);
    const of = g.draw.below(3);
    const chosen = g.must("gt", [soft, g.constant(0.3)], {});
    const before = g.must("cumsum", [g.must("cast", [chosen], { to: "u32" })], { axis: TIME, exclusive: true });
    const room = g.must("and", [chosen, g.must("lt", [before, g.constant(2, "u32")], {})], {});
    const weight = of === 0 ? soft : g.must("select", [of === 1 ? chosen : room, soft, g.constant(0)], {});
    return g.make("sum", [g.must("mul", [weight, y], {})], { axes: [N.name] });
  },
  /** For each expert its tokens, and the results back at the tokens' places. */
  expertsChoose: (g) => {
    const [x, D] = channels(g, true);
    const N = g.axis(x.type.axes);
    const scores = softmax(g, g.must("dot", [x, g.param([N, D])], { axes: [D.name] }), [N.name]);
    const size = Dim.round("ceil", Dim.of(TIME).over(Dim.of(g.draw.of([1, 2, 4])))!);
    const Z = g.labelled(size, [...x.type.axes, N]);
    const choose = (part: "indices" | "values" | "ranks"): Node => g.must("topk", [scores], { axis: TIME, k: Z, part });
    const taken = g.must("take", [x, choose("indices")], { axis: TIME });
    const F = g.axis([D, N, Z]);
    const inner = g.must("tanh", [g.must("dot", [taken, g.param([N, F, D])], { axes: [D.name] })], {});
    const outer = g.must("dot", [inner, g.param([N, D, F])], { axes: [F.name] });
    const weighted = g.must("mul", [outer, choose("values")], {});
    if (g.draw.next() < 0.5) {
      const hit = g.must("eq", [g.must("iota", [], { axis: timeAxis }), choose("indices")], {});
      return g.make("dot", [g.must("cast", [hit], { to: "f32" }), weighted], { axes: [Z.name, N.name] });
    }
    const one = g.must("broadcast", [g.constant(1, "u32")], { axes: [Z] });
    const slots = g.must("sum", [one], { axes: [Z.name] });
    const last = g.must("sub", [slots, g.constant(1, "u32")], {});
    const ranks = choose("ranks");
    const found = g.must("take", [weighted, g.must("min", [ranks, last], {})], { axis: Z.name });
    const kept = g.must("select", [g.must("lt", [ranks, slots], {}), found, g.constant(0)], {});
    return g.make("sum", [kept], { axes: [N.name] });
  },
  /** Slots that are mixtures of all tokens, and tokens that are mixtures of all slots. */
  slots: (g) => {
    const [x, D] = channels(g, true);
    const S = g.axis(x.type.axes);
    const scores = g.must("dot", [x, g.param([S, D])], { axes: [D.name] });
    const mixed = g.must("dot", [softmax(g, scores, [TIME]), x], { axes: [TIME] });
    const made = g.must("tanh", [g.must("mul", [mixed, g.param([S, D])], {})], {});
    return g.make("dot", [softmax(g, scores, [S.name]), made], { axes: [S.name] });
  },
  /** Turned by an angle that grows with the position. */
  rotary: (g) => {
    const [x, axis] = channels(g);
    const position = g.must("cast", [g.must("position", [], { axis: timeAxis })], { to: "f32" });
    const place = g.must("cast", [g.must("iota", [], { axis })], { to: "f32" });
    const speed = g.must("exp", [g.must("mul", [place, g.constant(-0.5)], {})], {});
    const angle = g.must("mul", [position, speed], {});
    const turned = g.must("roll", [x], { axis: axis.name, by: g.draw.of([1, -1, 2]) });
    const straight = g.must("mul", [x, g.must("cos", [angle], {})], {});
    return g.make("add", [straight, g.must("mul", [turned, g.must("sin", [angle], {})], {})], {});
  },
  /** Keys and values of all heads from one latent of each token. */
  latents: (g) => {
    const [x, L] = channels(g, true);
    const C = g.axis([L]);
    const H = g.axis([L, C]);
    const E = g.axis([L, C, H]);
    const q = g.must("dot", [x, g.param([H, C, L])], { axes: [L.name] });
    const small = tamed(g, x, 4);
    const k = g.must("dot", [small, g.param([H, C, L])], { axes: [L.name] });
    const v = g.must("dot", [small, g.param([H, E, L])], { axes: [L.name] });
    const attrs = { channel: C.name, causal: true, window: null, scale: 0.5, softcap: null, state: null };
    return g.make("attend", [tamed(g, q, 8), k, v], attrs);
  },
  /** Recurrences that some tokens pass by. */
  within: (g) => {
    const [x] = channels(g);
    const score = along(g, [], null);
    if (score === null) return null;
    const kept = g.must("gt", [score, g.constant(0)], {});
    const factor = g.must("select", [kept, g.must("tanh", [x], {}), g.constant(1)], {});
    const added = g.must("select", [kept, x, g.constant(0)], {});
    return g.make("scan", [factor, added], { pair: null, reverse: false, state: null });
  },
  /** Some tokens before this one, weighted. */
  convolution: (g) => {
    const [x, axis] = channels(g);
    const taps = [0, 1, 3].slice(0, 2 + g.draw.below(2)).map((by) => {
      const past = by === 0 ? x : g.must("delay", [x], { by, state: null });
      return g.must("mul", [past, g.param([axis])], {});
    });
    return taps.reduce<Node>((a, b) => g.must("add", [a, b], {}), g.constant(0.5));
  },
  /** An element that an index chooses of what was reduced, contracted or chosen. */
  chosenSum: (g) => {
    const [x, axis] = channels(g);
    const more = g.axis(x.type.axes);
    const wide = g.must("mul", [x, g.param([more, axis])], {});
    const reduced = g.must(g.draw.of(["sum", "reduce_max", "reduce_min"] as const), [wide], { axes: [axis.name] });
    const index = g.pick((n) => n.type.dtype === "u32" && !hasAxis(n.type, more.name));
    const own = index ?? g.must("iota", [], { axis: g.axis([...x.type.axes, more]) });
    return g.make("take", [reduced, g.index(own, more.size.value!)], { axis: more.name });
  },
  /** What a table holds for each token. */
  embedding: (g) => {
    const ids =
      g.pick((n) => n.type.dtype === "u32" && n.type.axes.length === 1 && hasAxis(n.type, TIME)) ??
      g.input([timeAxis], "u32");
    if (ids === null) return null;
    const V = g.axis();
    const table = g.param(g.draw.next() < 0.5 ? [V, g.axis([V])] : [g.axis([V]), V]);
    return g.make("take", [table, g.index(ids, V.size.value!)], { axis: V.name });
  },
  /** What each token's target costs. */
  cost: (g) => {
    const [x, D] = channels(g);
    const target = g.pick((n) => n.type.dtype === "u32" && n.type.axes.length === 1 && hasAxis(n.type, TIME));
    const V = g.axis(x.type.axes);
    const scores = tamed(g, g.must("dot", [x, g.param([V, D])], { axes: [D.name] }), 12);
    const most = g.must("reduce_max", [scores], { axes: [V.name] });
    const total = g.must("sum", [g.must("exp", [g.must("sub", [scores, most], {})], {})], { axes: [V.name] });
    const log = g.must("add", [g.must("log", [total], {}), most], {});
    if (target === null) return g.make("sub", [scores, log], {});
    return g.make("sub", [log, g.must("take", [scores, g.index(target, V.size.value!)], { axis: V.name })], {});
  },
} satisfies Readonly<Record<string, Row>>;

/** Floats with time, and one other axis of theirs; where `only`, their only one. */
function channels(g: Grower, only = false): readonly [Node, Axis] {
  const x = only ? along(g, [], g.axis()) : g.tokens();
  const axis = x === null ? undefined : x.type.axes.find((a) => a.name !== TIME && a.size.value !== null);
  if (x === null || axis === undefined) throw new Misfit("channels");
  return [x, axis];
}

/** Tokens, their channel, a bank's axis, and what all experts of the bank make of them. */
function experts(g: Grower): readonly [Node, Axis, Axis, Node] {
  const [x, D] = channels(g, g.draw.next() < 0.8);
  const N = g.axis(x.type.axes);
  const F = g.axis([...x.type.axes, N]);
  const E = g.draw.next() < 0.5 ? D : g.axis([...x.type.axes, N, F]);
  const up = (): Node => {
    const product = g.must("dot", [x, g.param([N, F, D])], { axes: [D.name] });
    return g.draw.next() < 0.3 ? g.must("add", [product, g.param([N, F])], {}) : product;
  };
  const bent = g.must(g.draw.of(["tanh", "sigmoid"] as const), [up()], {});
  const inner = g.draw.next() < 0.5 ? g.must("mul", [bent, up()], {}) : bent;
  const outer = g.must("dot", [inner, g.param([N, E, F])], { axes: [F.name] });
  return [x, D, N, g.draw.next() < 0.3 ? g.must("add", [outer, g.param([N, E])], {}) : outer];
}

function softmax(g: Grower, x: Node, axes: readonly string[]): Node {
  const most = g.must("reduce_max", [x], { axes });
  const weights = g.must("exp", [g.must("sub", [x, most], {})], {});
  const soft = g.must("div", [weights, g.must("sum", [weights], { axes })], {});
  g.pool.push(soft);
  return soft;
}
