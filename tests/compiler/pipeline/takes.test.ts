/**
 * What one kernel works out, wanted at another place than where it was worked out: under an index, a rename, a split, a join, a repetition, a
 * turn. Every way to make a value by a loop meets every way to move it, alone and inside of a row that goes on.
 */
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Node } from "../../../compiler/graph/node.ts";
import { parseAxis } from "../../../compiler/graph/parse.ts";
import { compareOutputs } from "../../support/compare-plan.ts";
import { makeProgram, type Make } from "../../support/graph-program.ts";
import type { TestGpu } from "../../support/gpu.ts";
import { openTestGpu } from "../../support/gpu.ts";

const T = 5;
let gpu: TestGpu;
beforeAll(async () => {
  gpu = await openTestGpu();
});
afterAll(() => gpu.close());

/** Values [T, N] or [N, T] of six channels. */
const makers: Readonly<Record<string, (m: Make) => Node>> = {
  "a sum over an inner axis": ({ b, input }) => b.sum(input("a", "f32[T, N=6, S=3]"), ["S"]),
  "a sum over an outer axis": ({ b, input }) => b.sum(input("c", "f32[T, S=3, N=6]"), ["S"]),
  "a sum over two axes": ({ b, input }) => b.sum(input("e", "f32[T, S=3, N=6, R=2]"), ["S", "R"]),
  "a largest value": ({ b, input }) => b.reduceMax(input("a", "f32[T, N=6, S=3]"), ["S"]),
  "a norm's factor": ({ b, input }) => {
    const a = input("a", "f32[T, N=6, S=3]");
    return b.must("rsqrt", [b.plus(b.sum(b.times(a, a), ["S"]), 0.1)], {});
  },
  "a contraction with a parameter": ({ b, input, param }) =>
    b.dot(input("x", "f32[T, D=8]"), param("w", "f32[N=6, D=8]"), ["D"]),
  "a contraction with an epilogue": ({ b, input, param }) =>
    b.tanh(b.dot(input("x", "f32[T, D=8]"), param("w", "f32[N=6, D=8]"), ["D"])),
  "a contraction of activations": ({ b, input }) =>
    b.dot(input("x", "f32[T, D=8]"), input("y", "f32[T, N=6, D=8]"), ["D"]),
  "a contraction that a selection needs": ({ b, input, param }) => {
    const z = b.dot(input("x", "f32[T, D=16]"), param("v", "f32[N=6, D=16]"), ["D"]);
    return b.plus(z, b.sum(b.must("topk", [z], { axis: "N", k: parseAxis("J=2"), part: "values" }), ["J"]));
  },
  "values of a selection": ({ b, input }) =>
    b.must("topk", [input("s", "f32[T, M=9]")], { axis: "M", k: parseAxis("N=6"), part: "values" }),
  "indices of a selection": ({ b, input }) =>
    b.cast(b.must("topk", [input("s", "f32[T, M=9]")], { axis: "M", k: parseAxis("N=6"), part: "indices" }), "f32"),
  "selections within groups": ({ b, input }) =>
    b.sum(b.must("topk", [input("g", "f32[T, N=6, M=4]")], { axis: "M", k: parseAxis("J=2"), part: "values" }), ["J"]),
  ranks: ({ b, input }) =>
    b.cast(b.must("topk", [input("n", "f32[T, N=6]")], { axis: "N", k: parseAxis("K=1"), part: "ranks" }), "f32"),
  "running sums": ({ b, input }) => b.cumsum(input("n", "f32[T, N=6]"), "N", false),
  "sums so far": ({ b, input }) => b.cumsum(input("n", "f32[T, N=6]"), "T", true),
  "a delay": ({ b, input }) => b.delay(b.tanh(input("n", "f32[T, N=6]")), 2),
  "a recurrence": ({ b, input }) =>
    b.must("scan", [input("n", "f32[T, N=6]"), input("m", "f32[T, N=6]")], { pair: null, reverse: false, state: null }),
  "the delta rule": ({ b, input }) =>
    b.must(
      "delta_rule",
      [input("x", "f32[T, D=8]"), input("k", "f32[T, D=8]"), input("n", "f32[T, N=6]"), input("beta", "f32[T]")],
      { channel: "D", part: "out", reverse: false, state: null },
    ),
  attention: ({ b, input }) =>
    b.must("attend", [input("x", "f32[T, D=8]"), input("k", "f32[T, D=8]"), input("n", "f32[T, N=6]")], {
      channel: "D",
      causal: true,
      window: null,
      scale: 0.5,
      softcap: null,
      state: null,
    }),
  "a pool": ({ b, input }) =>
    b.must("pool", [b.sum(input("a", "f32[T, N=6, S=3]"), ["S"])], { scope: "batch", reduce: "sum", buffer: null }),
};

const six = parseAxis("N=6");
/** Ways to want such a value elsewhere. */
const movers: Readonly<Record<string, (m: Make, x: Node) => Node>> = {
  "at chosen channels": (m, x) => m.b.take(x, m.input("j", "u32[T, K=6]"), "N"),
  "at chosen channels of the same name": (m, x) =>
    m.b.take(m.b.rename(x, "N", "N'"), m.input("i", "u32[T, N=6]"), "N'"),
  "at one channel": (m, x) => m.b.take(x, m.b.constant(4, "u32"), "N"),
  "at two choices": (m, x) => {
    const y = m.b.rename(x, "N", "N'");
    return m.b.plus(m.b.take(y, m.input("i", "u32[T, N=6]"), "N'"), m.b.take(y, m.input("h", "u32[T, N=6]"), "N'"));
  },
  "at a choice from a choice": (m, x) => {
    const once = m.b.take(m.b.rename(x, "N", "N'"), m.input("i", "u32[T, N=6]"), "N'");
    return m.b.take(m.b.rename(once, "N", "N'"), m.input("h", "u32[T, N=6]"), "N'");
  },
  "at all pairs": (m, x) => m.b.plus(x, m.b.rename(x, "N", "N'")),
  "at chosen pairs": (m, x) => {
    const pairs = m.b.merge(m.b.times(x, m.b.rename(x, "N", "N'")), ["N", "N'"], parseAxis("P=36"));
    return m.b.take(pairs, m.input("i", "u32[T, N=6]"), "P");
  },
  "split and joined again": (m, x) => {
    const parts = m.b.split(x, "N", [parseAxis("N=2"), parseAxis("B=3")]);
    return m.b.merge(parts, ["B", "N"], six);
  },
  "beside itself": (m, x) => m.b.concat([x, m.b.tanh(x)], "N", parseAxis("N=12")),
  "behind another": (m, x) => m.b.concat([m.input("n", "f32[T, N=6]"), x], "N", parseAxis("N=12")),
  repeated: (m, x) => m.b.merge(m.b.broadcast(x, [parseAxis("R=2")]), ["R", "N"], parseAxis("N=12")),
  turned: (m, x) => m.b.plus(x, m.b.roll(x, "N", -2)),
  cut: (m, x) => m.b.plus(m.b.slice(x, "N", 0, parseAxis("N=4")), m.b.slice(x, "N", 2, parseAxis("N=4"))),
  transposed: (m, x) => m.b.transpose(m.b.times(x, 2), ["N", "T"]),
  "at earlier tokens": (m, x) => m.b.plus(x, m.b.delay(x, 1)),
  "summed at chosen channels": (m, x) => {
    const chosen = m.b.take(m.b.rename(x, "N", "N'"), m.input("i", "u32[T, N=6]"), "N'");
    return m.b.plus(m.b.times(chosen, x), m.b.sum(m.b.times(chosen, x), ["N"]));
  },
  "in the order of its own ranks": (m, x) => {
    const order = m.b.must("topk", [x], { axis: "N", k: parseAxis("K=4"), part: "indices" });
    return m.b.plus(m.b.take(x, order, "N"), m.b.sum(x, ["N"]));
  },
  "and summed by row": (m, x) => {
    const centred = m.b.minus(x, m.b.over(m.b.sum(x, ["N"]), 6));
    return m.b.take(m.b.rename(centred, "N", "N'"), m.input("i", "u32[T, N=6]"), "N'");
  },
};

const choices = {
  i: Array.from({ length: 6 * T }, (_, x) => (5 * x + (x % 4)) % 6),
  h: Array.from({ length: 6 * T }, (_, x) => (x * x + 1) % 6),
  j: Array.from({ length: 6 * T }, (_, x) => (7 * x + 3) % 6),
};

test.each(Object.keys(makers))("%s is right wherever it is wanted", async (name) => {
  const program = makeProgram((m) =>
    Object.fromEntries(Object.values(movers).map((move, i) => [`moved${i}`, move(m, makers[name]!(m))])),
  );
  await compareOutputs(program, gpu, T, choices);
});

test("there are makers by every kind of kernel", () => expect(Object.keys(makers).length).toBeGreaterThan(15));
