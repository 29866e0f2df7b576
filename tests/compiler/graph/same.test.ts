import { describe, expect, test } from "vitest";
import { Graph, type Program } from "../../../compiler/graph/node.ts";
import {
  insideTemplate,
  nameOfUpdate,
  stackOfTemplate,
  stateOfUpdate,
  templateOfLayer,
  withHoles,
  withVariables,
} from "../../../compiler/graph/path.ts";
import { isSameProgram } from "../../../compiler/graph/traverse.ts";
import { buildProgram, newContext } from "../../../compiler/index.ts";
import { Builder } from "../../../compiler/ops/builder.ts";
import { modelOf } from "../../support/programs.ts";

describe("programs over one graph", () => {
  const text = (rule: string): string => `import { Linear } from "std"
layer Block(D) {
  up = Linear(D -> D)
  forward(x: [T, D]) -> [T, D] = x + up(x)
}
model Own(V, D, L) {
  up = Linear(V -> D)
  blocks = L of Block(D)
  down = Linear(D -> V)
  forward(x: [T, V]) -> f32[T, V] {
    y = up(x)
    for b in blocks { y = b(y) }
    return ${rule}
  }
}
config own: Own { V: 4  D: 6  L: 2 }
`;
  const both = (rule: string): readonly [Program, Program] => {
    const { instance } = modelOf(text(rule));
    const builder = new Builder(new Graph());
    const programFor = (purpose: "evaluate" | "generate") =>
      buildProgram(instance, { ...newContext("build", undefined, purpose), builder });
    return [programFor("evaluate"), programFor("generate")];
  };

  test("are the same where nothing asks what they are for", () => {
    expect(isSameProgram(...both("f32(down(y))"))).toBe(true);
  });

  test("differ where a rule does, in the main function and in a result alone", () => {
    expect(isSameProgram(...both("if generating then f32(down(y)) else f32(down(2.0 * y))"))).toBe(false);
    const [a] = both("f32(down(y))");
    const [first] = a.main.outputs;
    expect(isSameProgram(a, { ...a, main: { ...a.main, outputs: [{ ...first!, name: "other" }] } })).toBe(false);
    expect(isSameProgram(a, { ...a, functions: new Map() })).toBe(false);
  });
});

test("paths of layers, of their templates and of what is in them", () => {
  expect(templateOfLayer("blocks[3]")).toBe("blocks[#]");
  expect(withHoles("a[1].blocks[#4].w")).toBe("a[#].blocks[#].w");
  expect(insideTemplate("a[1].blocks[#4].attn.q.w")).toBe("attn.q.w");
  expect(withVariables("towers[1].blocks[3].w")).toBe("towers[l].blocks[m].w");
  expect(insideTemplate("head.w")).toBe("head.w");
  expect(stackOfTemplate("blocks[#4]")).toBe("blocks[");
  expect(stateOfUpdate(nameOfUpdate("blocks[0].bias"))).toBe("blocks[0].bias");
  expect(() => stateOfUpdate("bias")).toThrow("not an update");
});
