/** Small transformers built with the builder, for tests of the compiler's back; sizes and parts to taste. */
import type { Node, Program } from "../../compiler/graph/node.ts";
import { Graph } from "../../compiler/graph/node.ts";
import { Dim } from "../../compiler/graph/dim.ts";
import type { Axis } from "../../compiler/graph/type.ts";
import { Builder } from "../../compiler/ops/builder.ts";

export interface ModelShape {
  readonly V: number;
  readonly L: number;
  readonly D: number;
  readonly F: number;
  readonly G: number;
  readonly R: number;
  readonly C: number;
  /** Experts and how many each token takes; `soft`: all of them, weighted. Null: a plain feed-forward. */
  readonly experts: { readonly N: number; readonly K: number; readonly soft: boolean } | null;
  readonly tied: boolean;
  readonly window: number | null;
  readonly bias: boolean;
  /** Attention and feed-forward read the same norm and are added together. */
  readonly parallel: boolean;
  readonly qkNorm: boolean;
  readonly interleaved: boolean;
}

export const tiny: ModelShape = {
  V: 61,
  L: 2,
  D: 32,
  F: 48,
  G: 2,
  R: 2,
  C: 8,
  experts: null,
  tied: false,
  window: null,
  bias: false,
  parallel: false,
  qkNorm: false,
  interleaved: false,
};

const axis = (name: string, size: number): Axis => ({ name, size: Dim.of(size), origin: null });
const time: Axis = { name: "T", size: Dim.of("T"), origin: null };

export function buildModel(shape: ModelShape): Program {
  const { V, L, D } = shape;
  const b = new Builder(new Graph());
  const [d, v] = [axis("D", D), axis("V", V)];
  const block = buildBlock(b, shape);
  const ids = b.must("input", [], { name: "ids", type: { dtype: "u32", axes: [time] } });
  const embed = param(b, "embed.w", [v, d]);
  let x: Node = b.take(embed, ids, "V");
  for (let i = 0; i < L; i++) x = b.must("call", [x], { fn: "Block#0", path: `blocks[${i}]`, part: 0, type: x.type });
  const head = shape.tied ? embed : param(b, "head.w", [v, d]);
  const logits = b.dot(b.rename(norm(b, x, "norm.w", d), "D", "D'"), b.rename(head, "D", "D'"), ["D'"]);
  return {
    main: { name: "forward", inputs: [ids], outputs: [{ name: "logits", role: "result", node: logits }] },
    functions: new Map([["Block#0", block]]),
  };
}

function buildBlock(b: Builder, shape: ModelShape): Program["main"] {
  const d = axis("D", shape.D);
  const x = b.must("input", [], { name: "x", type: { dtype: "f32", axes: [time, d] } });
  const n1 = norm(b, x, "blocks[#].norm1.w", d);
  const attention = buildAttention(b, shape, n1);
  const h = b.plus(x, attention);
  const n2 = shape.parallel ? n1 : norm(b, h, "blocks[#].norm2.w", d);
  const ffn = shape.experts === null ? swiglu(b, n2, "blocks[#].ffn", [], shape) : mixture(b, shape, n2, shape.experts);
  const out = b.plus(h, ffn);
  return {
    name: "Block#0",
    inputs: [x],
    outputs: [
      { name: "out", role: "result", node: out },
      { name: "size", role: "metric", node: b.sum(out, ["D", "T"]) },
    ],
  };
}

function buildAttention(b: Builder, shape: ModelShape, x: Node): Node {
  const [g, r, c] = [axis("G", shape.G), axis("R", shape.R), axis("C", shape.C)];
  const d = axis("D'", shape.D);
  const inner = b.rename(x, "D", "D'");
  const linear = (name: string, out: readonly Axis[]): Node => {
    const y = b.dot(inner, param(b, `blocks[#].attn.${name}.w`, [...out, d]), ["D'"]);
    return shape.bias ? b.plus(y, param(b, `blocks[#].attn.${name}.b`, out)) : y;
  };
  const rms = (y: Node, name: string): Node => (shape.qkNorm ? norm(b, y, `blocks[#].attn.${name}_norm.w`, c) : y);
  const q = rope(b, rms(linear("q", [g, r, c]), "q"), c, shape.interleaved);
  const k = rope(b, rms(linear("k", [g, c]), "k"), c, shape.interleaved);
  const attended = b.must("attend", [q, k, linear("v", [g, c])], {
    channel: "C",
    causal: true,
    window: shape.window,
    scale: shape.C ** -0.5,
    softcap: null,
    state: null,
  });
  const primes = ["G", "R", "C"].reduce((y, name) => b.rename(y, name, `${name}'`), attended as Node);
  const w = param(b, "blocks[#].attn.o.w", [
    axis("D", shape.D),
    axis("G'", shape.G),
    axis("R'", shape.R),
    axis("C'", shape.C),
  ]);
  return b.dot(primes, w, ["G'", "R'", "C'"]);
}

function mixture(b: Builder, shape: ModelShape, x: Node, { N, K, soft }: NonNullable<ModelShape["experts"]>): Node {
  const [n, k] = [axis("N", N), axis("K", K)];
  const z = b.dot(b.rename(x, "D", "D'"), param(b, "blocks[#].ffn.pick.w", [n, axis("D'", shape.D)]), ["D'"]);
  const y = swiglu(b, x, "blocks[#].ffn.experts", [n], shape);
  if (soft) return b.sum(b.times(softmax(b, z, "N"), y), ["N"]);
  const values = b.must("topk", [z], { axis: "N", k, part: "values" });
  const index = b.must("topk", [z], { axis: "N", k, part: "indices" });
  return b.sum(b.times(b.take(y, index, "N"), softmax(b, values, "K")), ["K"]);
}

function swiglu(b: Builder, x: Node, path: string, bank: readonly Axis[], shape: ModelShape): Node {
  const [d, f] = [axis("D", shape.D), axis("F", shape.F)];
  const inner = b.rename(x, "D", "D'");
  const linear = (name: string): Node =>
    b.dot(inner, param(b, `${path}.${name}.w`, [...bank, f, { ...d, name: "D'" }]), ["D'"]);
  const gate = linear("gate");
  const hidden = b.rename(b.times(b.times(gate, b.must("sigmoid", [gate], {})), linear("up")), "F", "F'");
  return b.dot(hidden, param(b, `${path}.down.w`, [...bank, d, { ...f, name: "F'" }]), ["F'"]);
}

export function softmax(b: Builder, x: Node, over: string): Node {
  const e = b.exp(b.minus(x, b.reduceMax(x, [over])));
  return b.over(e, b.sum(e, [over]));
}

export function norm(b: Builder, x: Node, path: string, over: Axis): Node {
  const mean = b.over(b.sum(b.pow(x, 2), [over.name]), over.size.value!);
  return b.times(b.times(x, b.must("rsqrt", [b.plus(mean, 1e-5)], {})), param(b, path, [over]));
}

function rope(b: Builder, x: Node, c: Axis, interleaved: boolean): Node {
  const half = c.size.value! / 2;
  const position = b.cast(b.must("position", [], { axis: time }), "f32");
  const angles = (channel: Node): Node => b.times(position, b.pow(10000, b.times(channel, -1 / half)));
  if (interleaved) {
    const [h, p] = [axis("H", half), axis("pair", 2)];
    const pairs = b.split(x, "C", [h, p]);
    const theta = angles(b.cast(b.iota(h), "f32"));
    const sign = b.minus(b.times(b.cast(b.iota(p), "f32"), 2), 1);
    const turned = b.plus(b.times(pairs, b.cos(theta)), b.times(b.times(b.roll(pairs, "pair", 1), sign), b.sin(theta)));
    return b.transpose(
      b.merge(turned, ["H", "pair"], c),
      x.type.axes.map((a) => a.name),
    );
  }
  const i = b.iota(c);
  const theta = angles(b.cast(b.must("mod", [i, b.constant(half, "u32")], {}), "f32"));
  const sign = b.select(b.lt(i, half), -1, 1);
  return b.plus(b.times(x, b.cos(theta)), b.times(b.roll(x, "C", half), b.times(sign, b.sin(theta))));
}

function param(b: Builder, path: string, axes: readonly Axis[]): Node {
  return b.must("param", [], { path, type: { dtype: "f32", axes } });
}
