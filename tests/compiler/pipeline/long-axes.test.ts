/** Axes that are as long as the sequence beside time itself, or longer than a workgroup can hold: what chooses and adds up along them. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { findPeeks } from "../../../compiler/passes/incrementalise.ts";
import { compareOutputs } from "../../support/compare-plan.ts";
import type { TestGpu } from "../../support/gpu.ts";
import { openTestGpu } from "../../support/gpu.ts";
import { diagnose, programOf } from "../../support/programs.ts";

let gpu: TestGpu;
beforeAll(async () => {
  gpu = await openTestGpu();
});
afterAll(() => gpu.close());

const bodies: Readonly<Record<string, string>> = {
  "the largest of a row of pairs":
    "forward(x: [T, D]) -> [T, S] { v, i = topk[T' -> S](dot[D](x, x[T -> T']))\n return v }",
  "their places": "forward(x: [T, D]) -> [T, S] { v, i = topk[T' -> S](dot[D](x, x[T -> T']))\n return f32(i) }",
  "sums along a row of pairs":
    "forward(x: [T, D]) -> [T] = sum[T'](cumsum[T'](dot[D](x, x[T -> T'])) * dot[D](x, x[T -> T']))",
  "sums of those before":
    "forward(x: [T, D]) -> [T] = sum[T'](cumsum[T'](dot[D](x, x[T -> T']), exclusive: true) * dot[D](x, x[T -> T']))",
  "ranks along a row of pairs":
    "forward(x: [T, D]) -> [T] = sum[T'](f32(ranks[T'](dot[D](x, x[T -> T']))) * dot[D](x, x[T -> T']))",
  "more choices than a workgroup holds":
    "w = param[V]\nforward(x: [T, D]) -> [T] { v, i = topk[V -> W](sum[D](x) * w)\n return sum[W](v) }",
  "longer sums than a workgroup holds":
    "w = param[V]\nforward(x: [T, D]) -> [T] = sum[V](cumsum[V](sum[D](x) * w) * w)",
};

test.each(Object.keys(bodies))("%s", async (name) => {
  const program = programOf(`model M(D, S, V, W) {\n ${bodies[name]}\n}\nconfig c: M { D: 4  S: 2  V: 2200  W: 2000 }`);
  await compareOutputs(program, gpu, 3, {}, findPeeks(program).length > 0 ? ["whole"] : ["prefill", "decode"]);
});

test.each([
  ["attend[D](y, x, x)", "x + x[T -> T']"],
  ["scan(0.5, y)", "x + x[T -> T']"],
  ["delay(y, 1)", "x + x[T -> T']"],
  ["cumsum[T](y)", "x + x[T -> T']"],
  ["conv[W](y, w)", "x + x[T -> T']"],
  ["delay(y, 1)", "v"],
  ["cumsum[T](y)", "v"],
])(
  "%s keeps rows of a fixed size, so it is refused where they are as long as the sequence, or half of it: %s",
  (expression, y) => {
    const half = "slots = ceil(size[T]() / 2)\n  v, i = topk[T' -> slots](dot[D](x, x[T -> T']))";
    const over = y === "v" ? "slots" : "T'";
    const text = `layer L(D, W = 2) {\n w = param[D, W]\n forward(x: [T, D]) -> [T, D] {\n  ${half}\n  y = ${y}\n  return x + sum[${over}](${expression})\n }\n}`;
    expect(diagnose(text).map((d) => d.split(" ").slice(0, 2).join(" "))).toContain("7 shape/row-size");
  },
);
