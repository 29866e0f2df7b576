import { describe, expect, test } from "vitest";
import type { Attrs, OpName } from "../../../compiler/graph/attrs.ts";
import { Dim } from "../../../compiler/graph/dim.ts";
import type { Node } from "../../../compiler/graph/node.ts";
import { Graph } from "../../../compiler/graph/node.ts";
import { parseAxis, parseType } from "../../../compiler/graph/parse.ts";
import { formatType } from "../../../compiler/graph/type.ts";
import { Builder } from "../../../compiler/ops/builder.ts";
import type { Rows } from "../../../compiler/ops/define.ts";
import { isMismatch } from "../../../compiler/ops/mismatch.ts";
import { ops } from "../../../compiler/ops/table.ts";

const none = {};

describe("types", () => {
  test.each<[string, OpName, readonly string[], object]>([
    // Broadcasting keeps the order of an operand that has all axes, whichever it is.
    ["f32[T, D=48]", "add", ["f32[D=48]", "f32[T, D=48]"], none],
    ["f32[T, D=48]", "mul", ["f32[T, D=48]", "f32[]"], none],
    ["f32[T, K=2, N=4]", "mul", ["f32[T, K=2]", "f32[N=4, K=2]"], none],
    ["bool[T]", "lt", ["u32[T]", "u32[]"], none],
    ["f32[T, G, R]", "dot", ["f32[T, D]", "f32[G, R, D]"], { axes: ["D"] }],
    ["f32[T, G, R, C]", "split", ["f32[T, D=G*R*C]"], { axis: "D", into: ["G", "R", "C"].map(parseAxis) }],
    ["f32[T, D=C*G]", "merge", ["f32[T, G, C]"], { axes: ["G", "C"], to: parseAxis("D=G*C") }],
    ["f32[S=T + -1, V]", "slice", ["f32[T, V]"], { axis: "T", start: 1, to: parseAxis("S=T + -1") }],
    ["f32[T, K=2, D]", "take", ["f32[N, D]", "u32[T, K=2]"], { axis: "N" }],
    ["f32[T, K=2]", "take", ["f32[T, N]", "u32[T, K=2]"], { axis: "N" }],
    ["u32[T, K=2]", "topk", ["f32[T, N=8]"], { axis: "N", k: parseAxis("K=2"), part: "indices" }],
    ["f32[T, G=2, R, C]", "attend", ["f32[T, G=2, R, C]", "f32[T, G=2, C]", "f32[T, G=2, C]"], attend()],
    ["f32[T, R, E=6]", "attend", ["f32[T, R, C=4]", "f32[T, C=4]", "f32[T, R, E=6]"], attend()],
  ])("%s is the type of %s of %j", (expected, op, inputs, attrs) => {
    const node = apply(op, inputs, attrs);
    expect(isMismatch(node) ? node.message : formatType(node.type)).toBe(expected);
  });
});

describe("mismatches", () => {
  test.each<[string, OpName, readonly string[], object, string | null, readonly number[]]>([
    ["shape/axis-mismatch", "add", ["f32[T, D=48]", "f32[D=64]"], none, "D", [0, 1]],
    ["shape/axis-mismatch", "select", ["bool[]", "f32[D=2]", "f32[D=3]"], none, "D", [1, 2]],
    ["shape/axis-mismatch", "dot", ["f32[T, D=48]", "f32[D=64, F]"], { axes: ["D"] }, "D", [0, 1]],
    ["shape/axis-mismatch", "take", ["f32[T=4, N]", "u32[T=5]"], { axis: "N" }, "T", [0, 1]],
    ["shape/missing-axis", "sum", ["f32[T]"], { axes: ["N"] }, "N", [0]],
    ["shape/missing-axis", "dot", ["f32[D]", "f32[F]"], { axes: ["D"] }, "D", [1]],
    ["shape/missing-axis", "attend", ["f32[T, C]", "f32[C]", "f32[T, C]"], attend(), "T", [1]],
    ["shape/duplicate-axis", "rename", ["f32[T, D]"], { from: "D", to: "T" }, "T", [0]],
    ["shape/duplicate-axis", "broadcast", ["f32[T, D]"], { axes: [parseAxis("D")] }, "D", [0]],
    ["shape/duplicate-axis", "take", ["f32[N]", "u32[N]"], { axis: "N" }, "N", [1]],
    ["shape/duplicate-axis", "topk", ["f32[N]"], { axis: "N", k: parseAxis("N=2"), part: "values" }, "N", [0]],
    ["shape/topk-size", "topk", ["f32[N=2]"], { axis: "N", k: parseAxis("K=3"), part: "values" }, "N", [0]],
    [
      "shape/split-product",
      "split",
      ["f32[D=48]"],
      { axis: "D", into: [parseAxis("A=5"), parseAxis("B=9")] },
      "D",
      [0],
    ],
    ["shape/split-product", "merge", ["f32[G, C]"], { axes: ["G", "C"], to: parseAxis("D") }, "D", [0]],
    ["shape/slice-range", "slice", ["f32[D=4]"], { axis: "D", start: 3, to: parseAxis("E=2") }, "D", [0]],
    ["shape/concat-size", "concat", ["f32[D=4]", "f32[D=2]"], { axis: "D", to: parseAxis("D=5") }, "D", [0, 1]],
    ["shape/transpose-order", "transpose", ["f32[A, B]"], { order: ["A"] }, "B", [0]],
    ["shape/attend-axis", "attend", ["f32[T, C]", "f32[T, G, C]", "f32[T, C]"], attend(), "G", [1, 0]],
    ["type/operand", "add", ["bool[]", "bool[]"], none, null, [0]],
    ["type/operand", "exp", ["u32[T]"], none, null, [0]],
    ["type/operand", "select", ["f32[]", "f32[]", "f32[]"], none, null, [0]],
    ["type/operands-differ", "mul", ["f32[T]", "u32[T]"], none, null, [0, 1]],
    ["type/operands-differ", "select", ["bool[]", "f32[]", "u32[]"], none, null, [1, 2]],
    ["type/index", "take", ["f32[N]", "f32[T]"], { axis: "N" }, null, [1]],
    ["type/not-finite", "constant", [], { value: Infinity, dtype: "f32" }, null, []],
    ["type/constant", "constant", [], { value: 1.5, dtype: "u32" }, null, []],
  ])("%s: %s of %j", (code, op, inputs, attrs, axis, places) => {
    expect(apply(op, inputs, attrs)).toMatchObject({ kind: "mismatch", code, axis, inputs: places });
  });

  test("both sizes are in the message", () => {
    const found = apply("add", ["f32[D=48]", "f32[D=64]"], none);
    expect(isMismatch(found) && found.message).toBe("axis `D` is 48 in one operand and 64 in the other");
  });
});

test("the same op, inputs and attributes give the same node, whatever the order attributes are written in", () => {
  const b = new Builder(new Graph());
  const x = b.must("input", [], { name: "x", type: parseType("f32[T, N=8]") });
  const k = parseAxis("K=2");
  expect(b.must("topk", [x], { axis: "N", k, part: "values" })).toBe(
    b.must("topk", [x], { part: "values", k, axis: "N" }),
  );
  expect(b.plus(x, 1)).toBe(b.plus(x, b.constant(1)));
  expect(b.plus(x, 1)).not.toBe(b.plus(x, 2));
});

test("numbers beside a node become constants of its dtype", () => {
  const b = new Builder(new Graph());
  const x = b.must("input", [], { name: "x", type: parseType("u32[T]") });
  expect(formatType(b.plus(1, x).type)).toBe("u32[T]");
});

test("a table that lacks a row does not compile", () => {
  const { add, ...rest } = ops;
  expect(add.samples.length).toBeGreaterThan(0);
  // @ts-expect-error: the row of add is missing.
  const table: Rows<OpName> = rest;
  expect(Object.keys(table)).not.toContain("add");
});

test("costs are in symbols", () => {
  const [x, w] = ["f32[T, D=48]", "f32[F, D=48]"].map(parseType);
  const flops = ops.dot.flops([x!, w!], { axes: ["D"] }, parseType("f32[T, F]"));
  expect(flops.equals(Dim.of(96).times(Dim.of("T")).times(Dim.of("F")))).toBe(true);
});

function apply(op: OpName, inputs: readonly string[], attrs: object) {
  const b = new Builder(new Graph());
  const nodes: Node[] = inputs.map((text, i) => b.must("input", [], { name: `x${i}`, type: parseType(text) }));
  return b.add(op, nodes, attrs as Attrs[OpName]);
}

function attend(): Attrs["attend"] {
  return { channel: "C", causal: true, window: null, scale: 1, softcap: null, state: null };
}
