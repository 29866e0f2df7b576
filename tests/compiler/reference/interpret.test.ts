import { describe, expect, test } from "vitest";
import { parseProgram } from "../../../compiler/graph/parse.ts";
import { bindPath } from "../../../compiler/graph/path.ts";
import type { Value } from "../../../compiler/ops/define.ts";
import { evaluateFunction, evaluateProgram } from "../../../compiler/reference/interpret.ts";

const program = parseProgram(`fn layer(x: f32[T]) {
  %1 = param {path: "blocks[#].w"} : f32[]
  %2 = mul(x, %1) : f32[T]
  %3 = neg(%2) : f32[T]
  result out = %2
  loss negative = %3
}
main forward(x: f32[T]) {
  %1 = call(x) {fn: "layer", path: "blocks[0]", part: 0} : f32[T]
  %2 = call(%1) {fn: "layer", path: "blocks[1]", part: 0} : f32[T]
  %3 = call(%1) {fn: "layer", path: "blocks[1]", part: 1} : f32[T]
  %4 = position {axis: <T>} : u32[T]
  result out = %2
  loss negative = %3
  metric at = %4
}
`);

const params = (path: string): Value => {
  const weights: Readonly<Record<string, number>> = { "blocks[0].w": 10, "blocks[1].w": 3 };
  const value = weights[path];
  if (value === undefined) throw new Error(`no parameter ${path}`);
  return { axes: [], data: Float64Array.of(value) };
};

const x: Value = { axes: [{ name: "T", size: 2 }], data: Float64Array.of(1, 2) };

describe("the interpreter", () => {
  test("runs a layer's function with the parameters of each call", () => {
    const out = evaluateProgram(program, { inputs: { x }, params, sizes: { T: 2 } });
    expect(out["out"]?.data).toEqual(Float64Array.of(30, 60));
    expect(out["negative"]?.data).toEqual(Float64Array.of(-30, -60));
    expect(out["at"]?.data).toEqual(Float64Array.of(0, 1));
  });

  test("reads a parameter once per call, however many parts are used", () => {
    const read: string[] = [];
    evaluateProgram(program, { inputs: { x }, params: (path) => (read.push(path), params(path)), sizes: { T: 2 } });
    expect(read).toEqual(["blocks[0].w", "blocks[1].w"]);
  });

  test("runs one function under a path", () => {
    const layer = program.functions.get("layer")!;
    const out = evaluateFunction(program, layer, { inputs: { x }, params, sizes: { T: 2 } }, "blocks[1]");
    expect(out["out"]?.data).toEqual(Float64Array.of(3, 6));
  });

  test("refuses bindings that are missing or have other axes", () => {
    expect(() => evaluateProgram(program, { inputs: {}, params, sizes: { T: 2 } })).toThrow("input x is not bound");
    expect(() => evaluateProgram(program, { inputs: { x }, params, sizes: { T: 3 } })).toThrow("T=2");
    expect(() => evaluateProgram(program, { inputs: { x }, params: () => x, sizes: { T: 2 } })).toThrow(
      "parameter blocks[0].w",
    );
  });

  test("refuses an index outside of its axis", () => {
    const pick = parseProgram(
      'main f(x: f32[N=2], i: u32[T]) {\n  %1 = take(x, i) {axis: "N"} : f32[T]\n  result out = %1\n}\n',
    );
    const inputs = {
      x: { axes: [{ name: "N", size: 2 }], data: x.data },
      i: { axes: x.axes, data: Float64Array.of(0, 2) },
    };
    expect(() => evaluateProgram(pick, { inputs, params, sizes: { T: 2 } })).toThrow("index 2 is outside axis N");
  });
});

describe("paths", () => {
  test.each([
    ["blocks[#].attn.q.w", "blocks[3]", "blocks[3].attn.q.w"],
    ["blocks[#].inner[#].w", "blocks[1].inner[2]", "blocks[1].inner[2].w"],
    ["towers[0].blocks[#].w", "towers[0].blocks[5]", "towers[0].blocks[5].w"],
    ["embed.w", "", "embed.w"],
  ])("%s under %s is %s", (path, call, bound) => {
    expect(bindPath(path, call)).toBe(bound);
  });

  test("an index that nothing binds is an error", () => {
    expect(() => bindPath("blocks[#].w", "")).toThrow("gives 0 of the 1 indices");
  });
});
