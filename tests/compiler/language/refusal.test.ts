/** A model that cannot generate is told why where the looking begins, at the router, and at the place that uses it. */
import { expect, test } from "vitest";
import { compileModel } from "../../../compiler/index.ts";
import type { Diagnostic } from "../../../grammar/index.ts";
import { MoeError } from "../../../grammar/index.ts";
import { textOf } from "../../../grammar/span.ts";
import { softwareFacts } from "../../support/facts.ts";
import { modelOf } from "../../support/programs.ts";

function refuse(feed: string): readonly Diagnostic[] {
  const model = modelOf(`
import { Embedding, ExpertChoice, LimitedShare, Linear, MoE, MostProbable, Sinkhorn, SoftMoE, Switch, TopK } from "std"
layer Block(D, F, N) {
  feed = ${feed}
  forward(x: [T, D]) -> [T, D] = x + feed(x)
}
model Mix(V, L, D, F, N) {
  embed  = Embedding(V -> D)
  blocks = L of Block(D, F, N)
  head   = Linear(D -> V)
  forward(ids: u32[T]) -> f32[T, V] {
    x = embed(ids)
    for b in blocks { x = b(x) }
    return f32(head(x))
  }
}
config tiny: Mix { V: 16  L: 2  D: 8  F: 8  N: 4 }`);
  try {
    compileModel(model, { device: softwareFacts, storage: () => "f32" });
    return [];
  } catch (error) {
    if (error instanceof MoeError) return error.diagnostics;
    throw error;
  }
}

test.each([
  ["MoE(D, F, N, ExpertChoice(Z: 2))", "time/future", "topk[T -> slots](p)", "ExpertChoice"],
  ["SoftMoE(D, F, N, 2)", "time/future", "softmax[T](z)", "SoftMoE"],
  [
    "MoE(D, F, N, MostProbable(R: TopK(K: 2), Z: 2))",
    "time/future",
    "ranks[T](spread[N](r.index, r.weight))",
    "MostProbable",
  ],
  [
    "MoE(D, F, N, LimitedShare(R: TopK(K: 2)))",
    "time/future",
    "within_share[N](r.index, r.weight, factor)",
    "LimitedShare",
  ],
])("%s is refused once, at its %s", (feed, code, op, layer) => {
  const told = refuse(feed);
  expect(told.map((d) => d.code)).toEqual([code]);
  expect(told[0]!.labels.map((l) => textOf(l.span))).toEqual([op, layer, "feed(x)"]);
  expect(told[0]!.help).toContain("generation");
});

test("the same model with a router that takes each token by itself, or looks back alone, or ahead only while it trains, is not refused", () => {
  expect(refuse("MoE(D, F, N, TopK(K: 2))")).toEqual([]);
  expect(refuse("MoE(D, F, N, Switch(capacity: 4))")).toEqual([]);
  expect(refuse("MoE(D, F, N, Sinkhorn(K: 2))")).toEqual([]);
});

test("a sink that each sequence has for itself is refused at the attention that has it", () => {
  const model = modelOf(`
import { Embedding, Linear } from "std"
model Sunk(V, D, H, C) {
  embed = Embedding(V -> D)
  q     = Linear(D -> [H, C])
  head  = Linear([H, C] -> V)
  forward(ids: u32[T], drawn: [H]) -> f32[T, V] {
    x = q(embed(ids))
    return f32(head(attend[C](x, x, x, drawn)))
  }
}
config tiny: Sunk { V: 16  D: 8  H: 2  C: 4 }`);
  const compile = () => compileModel(model, { device: softwareFacts, storage: () => "f32" });
  expect(compile).toThrow(MoeError);
  expect(compile).toThrow("a sink is the same for all sequences");
});
