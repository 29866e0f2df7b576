import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Graph, attrsKey } from "../../../compiler/graph/node.ts";
import { parseProgram } from "../../../compiler/graph/parse.ts";
import { printProgram } from "../../../compiler/graph/print.ts";
import {
  allFunctions,
  outputNodes,
  rewriteProgram,
  topologicalOrder,
  usersOf,
} from "../../../compiler/graph/traverse.ts";
import { Builder } from "../../../compiler/ops/builder.ts";
import { verifyProgram } from "../../../compiler/verify/graph.ts";
import { programs } from "./programs.ts";

const text = `fn block(x: f32[T, D=48]) {
  %1 = param {path: "blocks[#].w, \\"odd\\" {name}"} : f32[F=C*G, D=48]
  %2 = dot(x, %1) {axes: ["D"]} : f32[T, F=C*G]
  %3 = split(%2) {axis: "F", into: [<G>, <C>]} : f32[T, G, C]
  %4 = attend(%3, %3, %3) {channel: "C", causal: true, window: null, scale: 0.125, softcap: 30, state: null} : f32[T, G, C]
  result out = %4
  loss balance = x
}

main forward(ids: u32[T], scale: f32[]) {
  %1 = param {path: "embed"} : f32[V=96, D=48]
  %2 = take(%1, ids) {axis: "V"} : f32[T, D=48]
  %3 = mul(%2, scale) : f32[T, D=48]
  %4 = call(%3) {fn: "block", path: "blocks[0]", part: 0} : f32[T, G, C]
  result out = %4
}
`;

describe("the text form", () => {
  test("prints what was parsed", () => {
    const program = parseProgram(text);
    expect(printProgram(program)).toBe(text);
    expect(verifyProgram(program)).toEqual([]);
  });

  test("round-trips programs", () => {
    fc.assert(
      fc.property(programs, (program) => {
        const printed = printProgram(program);
        expect(printProgram(parseProgram(printed))).toBe(printed);
      }),
    );
  });

  test("keeps identity: parsing into the same graph finds the same nodes", () => {
    const graph = new Graph();
    const [first, second] = [parseProgram(text, graph), parseProgram(text, graph)];
    expect(second.main.outputs[0]?.node).toBe(first.main.outputs[0]?.node);
  });

  test.each([
    ["fn f() {\n", "brace"],
    ["fn f() {\n}\n", "main"],
    ["main f() {\n  result out = %1\n}\n", "before it is defined"],
    ["main f() {\n  %1 = what is this\n}\n", "what is this"],
    ["main f(x: f64[T]) {\n}\n", "f64"],
  ])("refuses %j", (broken, words) => {
    expect(() => parseProgram(broken)).toThrow(words);
  });
});

describe("walking", () => {
  test("visits every node once, inputs first", () => {
    fc.assert(
      fc.property(programs, (program) => {
        for (const fn of allFunctions(program)) {
          const order = topologicalOrder(outputNodes(fn));
          expect(new Set(order).size).toBe(order.length);
          for (const [i, node] of order.entries())
            for (const input of node.inputs) expect(order.indexOf(input)).toBeLessThan(i);
          const users = usersOf(order);
          for (const node of order) for (const user of users.get(node)!) expect(user.inputs).toContain(node);
        }
      }),
    );
  });

  test("is not limited by depth", () => {
    const b = new Builder(new Graph());
    let x = b.constant(1);
    for (let i = 0; i < 50_000; i++) x = b.neg(x);
    expect(topologicalOrder([x])).toHaveLength(50_001);
  });

  test("rewriting with the identity changes nothing, also in another graph", () => {
    fc.assert(
      fc.property(programs, (program) => {
        const graph = new Graph();
        const copy = rewriteProgram(program, (node, inputs) =>
          graph.intern(node.op, inputs, node.attrs, node.type, node.origin),
        );
        expect(printProgram(copy)).toBe(printProgram(program));
        expect(verifyProgram(copy)).toEqual([]);
      }),
    );
  });

  test("rewriting replaces bottom-up", () => {
    const program = parseProgram(
      "main f(x: f32[T]) {\n  %1 = neg(x) : f32[T]\n  %2 = neg(%1) : f32[T]\n  %3 = exp(%2) : f32[T]\n  result out = %3\n}\n",
    );
    const graph = new Graph();
    const simpler = rewriteProgram(program, (node, inputs) => {
      const [inner] = inputs;
      if (node.op === "neg" && inner?.op === "neg") return inner.inputs[0]!;
      return graph.intern(node.op, inputs, node.attrs, node.type, node.origin);
    });
    expect(printProgram(simpler)).toBe("main f(x: f32[T]) {\n  %1 = exp(x) : f32[T]\n  result out = %1\n}\n");
  });
});

test("attributes are compared by sizes, not by where they were written", () => {
  const axis = parseProgram(text).main.inputs[0]!.type.axes[0]!;
  const origin = { file: "a.moe", start: 1, end: 2 } as never;
  expect(attrsKey({ axis: { ...axis, origin } })).toBe(attrsKey({ axis }));
});
