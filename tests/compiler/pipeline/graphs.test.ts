/** Graphs that no transformer block has: the general kernels, held to the oracle. */
import { afterAll, beforeAll, test } from "vitest";
import type { Node } from "../../../compiler/graph/node.ts";
import { parseAxis, parseProgram } from "../../../compiler/graph/parse.ts";
import { compareOutputs } from "../../support/compare-plan.ts";
import { makeProgram as program } from "../../support/graph-program.ts";
import type { TestGpu } from "../../support/gpu.ts";
import { openTestGpu } from "../../support/gpu.ts";
import { norm, softmax } from "../../support/models.ts";

let gpu: TestGpu;
beforeAll(async () => {
  gpu = await openTestGpu();
});
afterAll(() => gpu.close());

test("views, choices and casts over sizes that four divides and does not", async () => {
  await compareOutputs(
    program(({ b, input, param }) => {
      const [x, y] = [input("x", "f32[T, D=8]"), input("y", "f32[T, E=6]")];
      const w = param("w", "f32[D=8]");
      const parts = b.split(x, "D", [parseAxis("A=2"), parseAxis("B=4")]);
      const turned = b.merge(parts, ["B", "A"], parseAxis("D=8"));
      const joined = b.concat([b.slice(x, "D", 4, parseAxis("D=4")), b.rename(y, "E", "D")], "D", parseAxis("D=10"));
      const position = b.must("position", [], { axis: parseAxis("T") });
      const even = b.eq(b.must("mod", [position, b.constant(2, "u32")], {}), 0);
      return {
        turned: b.plus(b.times(b.transpose(turned, ["T", "D"]), w), b.roll(x, "D", 3)),
        joined: b.select(b.lt(joined, 0), b.roll(joined, "D", -4), b.times(joined, 2)),
        chosen: b.cast(b.select(even, b.cast(b.iota(parseAxis("D=8")), "i32"), b.constant(-1, "i32")), "f32"),
        signs: b.and(b.gt(x, 0), even),
      };
    }),
    gpu,
    7,
  );
});

test("rows: layer norm, running sums, choices within groups", async () => {
  await compareOutputs(
    program(({ b, input, param }) => {
      const x = input("x", "f32[T, D=20]");
      const centred = b.minus(x, b.over(b.sum(x, ["D"]), 20));
      const variance = b.over(b.sum(b.times(centred, centred), ["D"]), 20);
      const normed = b.plus(
        b.times(centred, b.must("rsqrt", [b.plus(variance, 1e-5)], {})),
        param("bias", "f32[D=20]"),
      );
      const z = b.dot(b.rename(normed, "D", "D'"), param("router", "f32[N=8, D'=20]"), ["D'"]);
      const groups = b.split(z, "N", [parseAxis("B=4"), parseAxis("M=2")]);
      const best = b.must("topk", [groups], { axis: "M", k: parseAxis("J=1"), part: "values" });
      const chosen = b.must("topk", [b.sum(best, ["J"])], { axis: "B", k: parseAxis("H=2"), part: "indices" });
      const hit = b.sum(b.cast(b.eq(chosen, b.iota(parseAxis("B=4"))), "f32"), ["H"]);
      const kept = b.merge(b.select(b.gt(hit, 0), groups, -1e30), ["B", "M"], parseAxis("N=8"));
      const index = b.must("topk", [kept], { axis: "N", k: parseAxis("K=3"), part: "indices" });
      const weights = b.take(b.must("sigmoid", [z], {}), index, "N");
      return {
        normed,
        sums: b.cumsum(softmax(b, z, "N"), "N", true),
        index,
        weights: b.over(weights, b.sum(weights, ["K"])),
        lowest: b.must("reduce_min", [groups], { axes: ["B"] }),
      };
    }),
    gpu,
    5,
  );
});

test("contractions of activations, of batches, and of parameters that lie for another one", async () => {
  await compareOutputs(
    program(({ b, input, param }) => {
      const [x, y] = [input("x", "f32[T, N=3, D=8]"), input("y", "f32[T, D=8]")];
      const w = param("w", "f32[N=3, F=6, D=8]");
      const batched = b.dot(x, w, ["D"]);
      return {
        scores: b.dot(x, y, ["D"]),
        batched,
        squares: b.times(b.dot(y, param("v", "f32[F=12, D=8]"), ["D"]), 2),
        back: b.dot(b.must("tanh", [b.dot(y, param("v", "f32[F=12, D=8]"), ["D"])], {}), param("v", "f32[F=12, D=8]"), [
          "F",
        ]),
        gate: b.must("sigmoid", [b.dot(y, param("g", "f32[D=8]"), ["D"])], {}),
        outer: b.sum(b.times(batched, param("s", "f32[N=3]")), ["N"]),
      };
    }),
    gpu,
    9,
  );
});

test("experts with biases, a weight for both projections, and one choice per token", async () => {
  await compareOutputs(
    program(({ b, input, param }) => {
      const x = norm(b, input("x", "f32[T, D=8]"), "norm", parseAxis("D=8"));
      const inner = b.rename(x, "D", "D'");
      const z = b.dot(inner, param("router", "f32[N=4, D'=8]"), ["D'"]);
      const choose = (k: string, part: "values" | "indices"): Node =>
        b.must("topk", [z], { axis: "N", k: parseAxis(k), part });
      const both = b.plus(b.dot(inner, param("both", "f32[N=4, H=12, D'=8]"), ["D'"]), param("bias", "f32[N=4, H=12]"));
      const hidden = b.times(
        b.must("tanh", [b.slice(both, "H", 0, parseAxis("F=6"))], {}),
        b.slice(both, "H", 6, parseAxis("F=6")),
      );
      const y = b.plus(b.dot(hidden, param("down", "f32[N=4, D=8, F=6]"), ["F"]), param("last", "f32[N=4, D=8]"));
      const mix = (k: string): Node => {
        const label = k.split("=")[0]!;
        return b.sum(b.times(b.take(y, choose(k, "indices"), "N"), b.must("sigmoid", [choose(k, "values")], {})), [
          label,
        ]);
      };
      return { two: b.plus(mix("K=2"), x), one: mix("K=1") };
    }),
    gpu,
    6,
  );
});

test("cross entropy of the next token over a vocabulary", async () => {
  await compareOutputs(
    program(({ b, input, param }) => {
      const x = input("x", "f32[T, D=16]");
      const target = input("target", "u32[T]");
      const z = b.dot(x, param("head", "f32[V=300, D=16]"), ["D"]);
      const largest = b.reduceMax(z, ["V"]);
      const total = b.plus(b.log(b.sum(b.exp(b.minus(z, largest)), ["V"])), largest);
      return { nll: b.minus(total, b.take(z, target, "V")) };
    }),
    gpu,
    4,
    { target: [0, 299, 7, 128] },
  );
});

test("time as an inner axis, rows of a parameter, maps of spread constants", async () => {
  await compareOutputs(
    program(({ b, input, param }) => {
      const x = input("x", "f32[T, D=6]");
      const w = param("w", "f32[F=4, D=6]");
      const sums = b.sum(b.times(w, 0.5), ["D"]);
      const spread = b.tanh(b.broadcast(b.constant(0.5), [parseAxis("T")]));
      return { inner: b.plus(b.times(w, x), spread), rows: b.plus(x, sums), last: b.sum(b.times(w, x), ["F"]) };
    }),
    gpu,
    5,
  );
});

test("tables of positions, by whole numbers that are divided and that wrap", async () => {
  await compareOutputs(
    program(({ b, input }) => {
      const x = input("x", "f32[T, D=4]");
      const position = b.must("position", [], { axis: parseAxis("T") });
      const back = b.minus(position, 3);
      const signed = b.minus(b.cast(position, "i32"), 5);
      const waved = (n: Node): Node => b.times(x, b.sin(b.cast(n, "f32")));
      return {
        divided: waved(b.over(b.plus(position, 1), 4)),
        wrapped: b.times(x, b.sin(b.cast(b.lt(back, 2), "f32"))),
        far: waved(b.over(b.times(back, 77777), 65536)),
        signed: waved(b.over(signed, 2)),
        flagged: b.times(x, b.sin(b.cast(b.cast(b.minus(b.cast(position, "f32"), 2), "bool"), "f32"))),
        clamped: waved(b.cast(signed, "u32")),
      };
    }),
    gpu,
    9,
  );
});

test("a layer that tells its argument beside its result, and one that hands its arguments on crosswise", async () => {
  const text = `
fn layer(x: f32[T, D=8]) {
  %1 = tanh(x) : f32[T, D=8]
  result out = %1
  metric seen = x
}
fn cross(x: f32[T, D=8], y: f32[T, D=8]) {
  result out = y
  result out1 = x
}
main f(x: f32[T, D=8], y: f32[T, D=8]) {
  %1 = call(x) {fn: "layer", path: "blocks[0]", part: 0} : f32[T, D=8]
  %2 = call(x) {fn: "layer", path: "blocks[0]", part: 1} : f32[T, D=8]
  %3 = call(%1) {fn: "layer", path: "blocks[1]", part: 1} : f32[T, D=8]
  %4 = mul(%2, %3) : f32[T, D=8]
  %5 = call(x, y) {fn: "cross", path: "turns[0]", part: 0} : f32[T, D=8]
  %6 = call(x, y) {fn: "cross", path: "turns[0]", part: 1} : f32[T, D=8]
  %7 = call(%5, %6) {fn: "cross", path: "turns[1]", part: 0} : f32[T, D=8]
  %8 = tanh(%6) : f32[T, D=8]
  %9 = mul(%5, %8) : f32[T, D=8]
  %10 = add(%9, %7) : f32[T, D=8]
  result told = %4
  result crossed = %10
}`;
  await compareOutputs(parseProgram(text), gpu, 11);
});
