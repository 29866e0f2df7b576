/** Each graph pass as text, before and after. */
import { describe, expect, test } from "vitest";
import type { Program } from "../../../compiler/graph/node.ts";
import { Graph, isOp } from "../../../compiler/graph/node.ts";
import { parseProgram } from "../../../compiler/graph/parse.ts";
import { printProgram } from "../../../compiler/graph/print.ts";
import { outputNodes, topologicalOrder } from "../../../compiler/graph/traverse.ts";
import { findPeeks, incrementaliseProgram } from "../../../compiler/passes/incrementalise.ts";
import { Builder } from "../../../compiler/ops/builder.ts";
import type { Table } from "../../../compiler/plan/plan.ts";
import { evaluateScalar } from "../../../compiler/plan/scalar.ts";
import { inlineCalls } from "../../../compiler/passes/simplify/inline.ts";
import { pruneProgram } from "../../../compiler/passes/simplify/prune.ts";
import { simplifyProgram } from "../../../compiler/passes/simplify/simplify.ts";
import { sparsifyProgram } from "../../../compiler/passes/sparsify/sparsify.ts";
import { selectWanted } from "../../../compiler/passes/sparsify/wanted.ts";
import { tabulateProgram } from "../../../compiler/passes/tabulate/tabulate.ts";
import { verifyProgram } from "../../../compiler/verify/graph.ts";

describe("prune", () => {
  test("keeps the asked output and renumbers the results of calls", () => {
    const before = `
fn layer(x: f32[T, D=8]) {
  %1 = tanh(x) : f32[T, D=8]
  %2 = sum(%1) {axes: ["D", "T"]} : f32[]
  loss balance = %2
  result out = %1
}
main f(x: f32[T, D=8]) {
  %1 = call(x) {fn: "layer", path: "blocks[0]", part: 0} : f32[]
  %2 = call(x) {fn: "layer", path: "blocks[0]", part: 1} : f32[T, D=8]
  loss balance = %1
  result out = %2
}`;
    const pruned = pruneProgram(parseProgram(before), ["out"], new Builder(new Graph()));
    expect(verifyProgram(pruned)).toEqual([]);
    expect(printProgram(pruned).trim()).toBe(
      `
fn layer(x: f32[T, D=8]) {
  %1 = tanh(x) : f32[T, D=8]
  result out = %1
}

main f(x: f32[T, D=8]) {
  %1 = call(x) {fn: "layer", path: "blocks[0]", part: 0} : f32[T, D=8]
  result out = %1
}`.trim(),
    );
  });
});

describe("inline", () => {
  test("a call inside of a function becomes its body, under the path of both", () => {
    const before = `
fn turn(x: f32[T, D=8]) {
  %1 = param() {path: "blocks[#].turns[#].w"} : f32[D=8]
  %2 = mul(x, %1) : f32[T, D=8]
  result out = %2
}
fn block(x: f32[T, D=8]) {
  %1 = call(x) {fn: "turn", path: "blocks[#].turns[0]", part: 0} : f32[T, D=8]
  %2 = call(%1) {fn: "turn", path: "blocks[#].turns[1]", part: 0} : f32[T, D=8]
  result out = %2
}
main f(x: f32[T, D=8]) {
  %1 = call(x) {fn: "block", path: "blocks[3]", part: 0} : f32[T, D=8]
  result out = %1
}`;
    const inlined = inlineCalls(parseProgram(before), new Builder(new Graph()));
    expect(verifyProgram(inlined)).toEqual([]);
    const block = inlined.functions.get("block")!;
    const nodes = topologicalOrder(outputNodes(block));
    expect(nodes.map((n) => n.op).toSorted()).toEqual(["input", "mul", "mul", "param", "param"]);
    expect(nodes.flatMap((n) => (isOp(n, "param") ? [n.attrs.path] : []))).toEqual([
      "blocks[#].turns[0].w",
      "blocks[#].turns[1].w",
    ]);
  });
});

describe("simplify", () => {
  test("squares are products, constants are folded, units and detach vanish", () => {
    check(
      simplifyProgram,
      `
  %1 = constant {value: 2, dtype: "f32"} : f32[]
  %2 = pow(x, %1) : f32[T, D=8]
  %3 = mul(%1, %1) : f32[]
  %4 = constant {value: 1, dtype: "f32"} : f32[]
  %5 = mul(%2, %4) : f32[T, D=8]
  %6 = add(%5, %3) : f32[T, D=8]
  %7 = detach(%6) : f32[T, D=8]
  result out = %7`,
      `
  %1 = mul(x, x) : f32[T, D=8]
  %2 = constant {value: 4, dtype: "f32"} : f32[]
  %3 = add(%1, %2) : f32[T, D=8]
  result out = %3`,
    );
  });

  test("views that cancel vanish, and renames move behind maps", () => {
    check(
      simplifyProgram,
      `
  %1 = split(x) {axis: "D", into: [<A=2>, <B=4>]} : f32[T, A=2, B=4]
  %2 = merge(%1) {axes: ["A", "B"], to: <E=8>} : f32[T, E=8]
  %3 = rename(%2) {from: "E", to: "F"} : f32[T, F=8]
  %4 = roll(%3) {axis: "F", by: 3} : f32[T, F=8]
  %5 = roll(%4) {axis: "F", by: -3} : f32[T, F=8]
  %6 = exp(%5) : f32[T, F=8]
  result out = %6`,
      `
  %1 = exp(x) : f32[T, D=8]
  %2 = rename(%1) {from: "D", to: "F"} : f32[T, F=8]
  result out = %2`,
    );
  });

  test("a weighted mixture of experts is one contraction", () => {
    check(
      simplifyProgram,
      `
  %1 = param {path: "down"} : f32[N=4, D=8, F=6]
  %2 = dot(h, %1) {axes: ["F"]} : f32[T, N=4, D=8]
  %3 = mul(g, %2) : f32[T, N=4, D=8]
  %4 = sum(%3) {axes: ["N"]} : f32[T, D=8]
  result out = %4`,
      `
  %1 = mul(g, h) : f32[T, N=4, F=6]
  %2 = param {path: "down"} : f32[N=4, D=8, F=6]
  %3 = dot(%1, %2) {axes: ["F", "N"]} : f32[T, D=8]
  result out = %3`,
      "h: f32[T, N=4, F=6], g: f32[T, N=4]",
    );
  });
});

describe("sparsify", () => {
  test("experts are computed for what was chosen alone, and the router stays dense", () => {
    check(
      sparsifyProgram,
      `
  %1 = param {path: "pick"} : f32[N=4, D=8]
  %2 = dot(x, %1) {axes: ["D"]} : f32[T, N=4]
  %3 = topk(%2) {axis: "N", k: <K=2>, part: "indices"} : u32[T, K=2]
  %4 = exp(%2) : f32[T, N=4]
  %5 = take(%4, %3) {axis: "N"} : f32[T, K=2]
  %6 = param {path: "up"} : f32[N=4, F=6, D=8]
  %7 = dot(x, %6) {axes: ["D"]} : f32[T, N=4, F=6]
  %8 = tanh(%7) : f32[T, N=4, F=6]
  %9 = take(%8, %3) {axis: "N"} : f32[T, K=2, F=6]
  %10 = mul(%9, %5) : f32[T, K=2, F=6]
  result out = %10`,
      `
  %1 = param {path: "up"} : f32[N=4, F=6, D=8]
  %2 = param {path: "pick"} : f32[N=4, D=8]
  %3 = dot(x, %2) {axes: ["D"]} : f32[T, N=4]
  %4 = topk(%3) {axis: "N", k: <K=2>, part: "indices"} : u32[T, K=2]
  %5 = take(%1, %4) {axis: "N"} : f32[T, K=2, F=6, D=8]
  %6 = dot(x, %5) {axes: ["D"]} : f32[T, K=2, F=6]
  %7 = tanh(%6) : f32[T, K=2, F=6]
  %8 = exp(%3) : f32[T, N=4]
  %9 = take(%8, %4) {axis: "N"} : f32[T, K=2]
  %10 = mul(%7, %9) : f32[T, K=2, F=6]
  result out = %10`,
    );
  });

  test("a selection that cannot move stays where it is", () => {
    const text = `
  %1 = param {path: "up"} : f32[N=4, D=8]
  %2 = dot(x, %1) {axes: ["D"]} : f32[T, N=4]
  %3 = cumsum(%2) {axis: "N", exclusive: false} : f32[T, N=4]
  %4 = topk(%2) {axis: "N", k: <K=2>, part: "indices"} : u32[T, K=2]
  %5 = take(%3, %4) {axis: "N"} : f32[T, K=2]
  result out = %5`;
    check(sparsifyProgram, text, text);
  });
});

describe("select wanted", () => {
  test("what follows the last call runs on the wanted rows", () => {
    check(
      selectWanted,
      `
  %1 = call(x) {fn: "layer", path: "blocks[0]", part: 0} : f32[T, D=8]
  %2 = mul(%1, %1) : f32[T, D=8]
  %3 = sum(%2) {axes: ["D"]} : f32[T]
  %4 = mul(%1, %3) : f32[T, D=8]
  %5 = param {path: "head"} : f32[V=16, D=8]
  %6 = dot(%4, %5) {axes: ["D"]} : f32[T, V=16]
  result logits = %6`,
      `
  %1 = call(x) {fn: "layer", path: "blocks[0]", part: 0} : f32[T, D=8]
  %2 = take(%1, wanted) {axis: "T"} : f32[@wanted=Q, D=8]
  %3 = mul(%2, %2) : f32[@wanted=Q, D=8]
  %4 = sum(%3) {axes: ["D"]} : f32[@wanted=Q]
  %5 = mul(%2, %4) : f32[@wanted=Q, D=8]
  %6 = param {path: "head"} : f32[V=16, D=8]
  %7 = dot(%5, %6) {axes: ["D"]} : f32[@wanted=Q, V=16]
  result logits = %7`,
      "x: f32[T, D=8]",
      "x: f32[T, D=8], wanted: u32[@wanted=Q]",
    );
  });
});

describe("tabulate", () => {
  test("a cosine of the position is a table that is read at the position", () => {
    const tables = new Map<string, Table>();
    check(
      (p, b) => tabulateProgram(p, b, tables),
      `
  %1 = position {axis: <T>} : u32[T]
  %2 = cast(%1) {to: "f32"} : f32[T]
  %3 = iota {axis: <D=8>} : u32[D=8]
  %4 = cast(%3) {to: "f32"} : f32[D=8]
  %5 = mul(%2, %4) : f32[T, D=8]
  %6 = cos(%5) : f32[T, D=8]
  %7 = roll(%6) {axis: "D", by: 2} : f32[T, D=8]
  %8 = mul(x, %7) : f32[T, D=8]
  result out = %8`,
      `
  %1 = param {path: "table:table0"} : f32[@P=P, D=8]
  %2 = position {axis: <T>} : u32[T]
  %3 = take(%1, %2) {axis: "@P"} : f32[T, D=8]
  %4 = mul(x, %3) : f32[T, D=8]
  result out = %4`,
    );
    const [table] = tables.values();
    expect(table?.axes).toEqual([
      { name: "@P", size: "P" },
      { name: "D", size: 8 },
    ]);
    expect(evaluateScalar(table!.expr, { "@P": 5, D: 7 })).toBeCloseTo(Math.cos(5 * 1), 12);
  });
});

describe("incrementalise", () => {
  test("attention gets the name of its caches, keys the axes of theirs", () => {
    check(
      incrementaliseProgram,
      `
  %1 = sum(x) {axes: ["G"]} : f32[T, C=4]
  %2 = attend(x, %1, x) {channel: "C", causal: true, window: null, scale: 0.5, softcap: null, state: null} : f32[T, G=2, C=4]
  result out = %2`,
      `
  %1 = sum(x) {axes: ["G"]} : f32[T, C=4]
  %2 = broadcast(%1) {axes: [<G=2>]} : f32[G=2, T, C=4]
  %3 = transpose(%2) {order: ["T", "G", "C"]} : f32[T, G=2, C=4]
  %4 = attend(x, %3, x) {channel: "C", causal: true, window: null, scale: 0.5, softcap: null, state: "attend0"} : f32[T, G=2, C=4]
  result out = %4`,
      "x: f32[T, G=2, C=4]",
    );
  });

  test("an op that looks at later positions is found, one that looks back is not", () => {
    const peeks = (line: string) =>
      findPeeks(parseProgram(`main f(x: f32[T, D=8]) {\n  ${line}\n  result out = %1\n}`)).map((p) => [p.code, p.op]);
    expect(peeks(`%1 = sum(x) {axes: ["T"]} : f32[D=8]`)).toEqual([["time/future", "sum"]]);
    expect(peeks(`%1 = cumsum(x) {axis: "T", exclusive: false} : f32[T, D=8]`)).toEqual([]);
    expect(peeks(`%1 = sum(x) {axes: ["D"]} : f32[T]`)).toEqual([]);
  });
});

const layer = `fn layer(x: f32[T, D=8]) {
  %1 = tanh(x) : f32[T, D=8]
  result out = %1
}
`;

/** Runs a pass over a body of main and compares the text of main. */
function check(
  pass: (p: Program, b: Builder) => Program,
  before: string,
  after: string,
  inputs = "x: f32[T, D=8]",
  inputsAfter = inputs,
): void {
  const graph = new Graph();
  const text = (head: string, body: string): string => `main f(${head}) {\n${body.replace(/^\n/, "")}\n}`;
  const result = pass(parseProgram(`${layer}${text(inputs, before)}`, graph), new Builder(graph));
  expect(verifyProgram(result)).toEqual([]);
  expect(printProgram(result).trim().split("\n\n").at(-1)).toBe(text(inputsAfter, after));
}
