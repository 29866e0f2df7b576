import { describe, expect, test } from "vitest";
import { printProgram } from "../../../compiler/graph/print.ts";
import { diagnose, outputsOf, programOf } from "../../support/programs.ts";

/** A model of one layer over D = 4, and its program. */
const inModel = (layer: string, made = "Tested(D)") => `${layer}
model Whole(D) {
  tested = ${made}
  forward(x: [T, D]) -> [T, D] = tested(x)
}
config small: Whole { D: 4 }
`;

describe("axes", () => {
  test("a layer from an axis to itself keeps the caller's label", () => {
    const layer = `import { Linear } from "std"
layer Tested(D) {
  a = Linear(D -> D)
  forward(x: [T, D]) -> [T, D] = x + a(x)
}`;
    expect(outputsOf(programOf(inModel(layer)))).toEqual(["result logits f32[T=T D=4]"]);
  });

  test("a declared size without a label takes the axis of that size", () => {
    const layer = `import { Linear } from "std"
layer Wide(D) {
  up = Linear(D -> 4 * D)
  forward(x: [T, D]) -> [T, 4 * D] = up(x)
}
layer Tested(D) {
  wide = Wide(D)
  down = Linear(4 * D -> D)
  forward(x: [T, D]) -> [T, D] = down(wide(x))
}`;
    expect(diagnose(inModel(layer))).toEqual([]);
  });

  test("lists of axes go in and out of one layer", () => {
    const layer = `import { Linear } from "std"
layer Tested(D) {
  q = Linear(D -> [D / 2, 2])
  o = Linear([D / 2, 2] -> D)
  forward(x: [T, D]) -> [T, D] = o(q(x))
}`;
    expect(diagnose(inModel(layer))).toEqual([]);
  });

  test("operands broadcast by name, never by size", () => {
    expect(diagnose("fn outer[A, B](x: [T, A], y: [T, B]) -> [T, A, B] = x * y\n")).toEqual([]);
    expect(diagnose("dim A = 4\ndim B = 4\nfn same(x: [T, A], y: [T, B]) -> [T, A] = x * y\n")).toEqual([
      "3 shape/extra-axis the result of `same` has an axis `B` that is not declared",
    ]);
  });

  test("a `dim` has its size in every declaration of the file", () => {
    expect(diagnose("dim H = 6\nfn tail(x: [T, H]) -> [T, H] = slice[H -> H](x, 1)\n")).toEqual([
      "2 shape/slice-range the range 1 ..< 7 leaves axis `H`, which is 6",
    ]);
  });
});

describe("sizes that are not known yet", () => {
  test.each([
    ["D % H == 0", []],
    ["D == 2 * H", []],
    ["D > H, D * 0.5 > 3", []],
    ["D <= D + 1", []],
    ["D > D", ["2 type/where `Tested` requires `D > D`"]],
    ["D == D + 1", ["2 type/where `Tested` requires `D == D + 1`"]],
    ["D / (H + 1) > 2", []],
  ])("where %s", (condition, expected) => {
    const layer = `\nlayer Tested(D, H) where ${condition} {\n  w = param[D, H]\n  forward(x: [T, D]) -> [T, H] = dot[D](x, w)\n}\n`;
    expect(diagnose(layer).map((d) => d.replace(/^\d+/, "2"))).toEqual(expected);
  });
});

describe("routes", () => {
  const mixture = (router: string, made: string) => `import { MoE, ${router} } from "std"
layer Tested(D) {
  moe = MoE(D, 6, 4, ${made})
  forward(x: [T, D]) -> [T, D] = moe(x)
}`;

  test("a sparse and a dense route apply by the same formula", () => {
    expect(diagnose(inModel(mixture("TopK", "TopK(K: 2)")))).toEqual([]);
    expect(diagnose(inModel(mixture("Soft", "Soft")))).toEqual([]);
  });

  const ownRouter = `import { Linear, MoE } from "std"
router Own(D, N, K) {
  score = Linear(D -> N)
  forward(x: [T, D]) -> sparse[T, K of N] {
    z    = f32(score(x))
    s, i = topk[N -> K](z)
    loss load_balance[N](softmax[N](z), i)
    metric expert_load = load[N](i)
    return route[N](i, softmax[K](s))
  }
}
layer Tested(D) {
  moe = MoE(D, 6, 4, Own(K: 2))
  forward(x: [T, D]) -> [T, D] = moe(x)
}`;

  test("a router's losses and metrics become outputs of the model", () => {
    expect(outputsOf(programOf(inModel(ownRouter)))).toEqual([
      "result logits f32[T=T D=4]",
      "loss loss0 f32[]",
      "metric expert_load f32[N=4]",
    ]);
  });

  test("a function takes a route as its argument", () => {
    const text = "fn combine[N, D](r: sparse[T, K of N], y: [T, N, D]) -> [T, D] = sum[N](r * y)\n";
    expect(diagnose(text)).toEqual([]);
    expect(diagnose(`${text}fn wrong[N, D](x: [T, N, D]) -> [T, D] = combine[N, D](x, x)\n`)).toEqual([
      "2 type/bad-route `combine`'s `r` is a sparse route, not a tensor",
    ]);
  });
});

describe("stacks", () => {
  const tower = (layers: number) => `import { SwiGLU } from "std"
layer Block(D) {
  mlp = SwiGLU(D, 2 * D)
  forward(x: [T, D]) -> [T, D] = x + mlp(x)
}
model Tower(D, L) {
  blocks = L of Block(D)
  forward(x: [T, D]) -> [T, D] {
    for b in blocks { x = b(x) }
    return x
  }
}
config c: Tower { D: 4  L: ${layers} }
`;

  test("the number of functions does not grow with the number of layers", () => {
    const [few, many] = [programOf(tower(2)), programOf(tower(40))];
    expect(few.functions.size).toBe(1);
    expect(many.functions.size).toBe(1);
    expect(printProgram(many).match(/call/g)!.length - printProgram(few).match(/call/g)!.length).toBe(38);
  });

  test("a stack in a stack is two functions, and every parameter has its own path", () => {
    const program = programOf(`import { Linear } from "std"
layer Inner(D, M) {
  rows = M of Linear(D -> D)
  forward(x: [T, D]) -> [T, D] {
    for r in rows { x = x + r(x) }
    return x
  }
}
model Outer(D, L, M) {
  blocks = L of Inner(D, M)
  forward(x: [T, D]) -> [T, D] {
    for b in blocks { x = b(x) }
    return x
  }
}
config c: Outer { D: 4  L: 3  M: 2 }
`);
    expect([...program.functions.keys()].length).toBe(2);
    expect(printProgram(program)).toContain("blocks[#].rows[#].w");
  });
});

describe("names", () => {
  test("a member may be called like a builtin", () => {
    const layer = `import { Linear } from "std"
layer Tested(D) {
  sum = Linear(D -> D)
  forward(x: [T, D]) -> [T, D] = sum(x)
}`;
    expect(diagnose(inModel(layer))).toEqual([]);
  });

  test("an unknown name suggests what is near, or the import that brings it", () => {
    expect(diagnose("fn f(x: [..]) -> [..] = slu(x)\n")).toEqual(["1 name/unknown there is no name `slu` here"]);
  });

  test("one mistake in a long chain of uses is one message", () => {
    const uses = Array.from({ length: 50 }, (_, i) => `  y${i + 1} = y${i} + y${i} * x`).join("\n");
    expect(diagnose(`fn f(x: [..]) -> [..] {\n  y0 = missing(x)\n${uses}\n  return y50\n}\n`)).toEqual([
      "2 name/unknown there is no name `missing` here",
    ]);
  });

  test("a file of a thousand declarations is checked", () => {
    const lines = Array.from(
      { length: 1000 },
      (_, i) => `fn f${i}(x: [..]) -> [..] = ${i % 20 === 0 ? "2.0 * x" : `f${i - 1}(x)`}`,
    );
    expect(diagnose(`${lines.join("\n")}\n`)).toEqual([]);
  });
});

test("numbers adapt to the dtype of the other side, and must fit it", () => {
  expect(diagnose("fn f(i: u32[T]) -> u32[T] = i + 1\n")).toEqual([]);
  expect(diagnose("fn f(i: u32[T]) -> u32[T] = i + 0.5\n")).toEqual([
    "1 type/dtype-mismatch 0.5 is not an integer, but the other side is u32",
  ]);
});

test("a layer as graph text", () => {
  const program = programOf(
    inModel("layer Tested(D) {\n  w = param[D](ones)\n  forward(x: [T, D]) -> [T, D] = silu(x * w)\n}"),
  );
  expect(printProgram(program)).toMatchInlineSnapshot(`
    "main Whole(x: f32[T, D=4]) {
      %1 = param {path: "tested.w"} : f32[D=4]
      %2 = mul(x, %1) : f32[T, D=4]
      %3 = sigmoid(%2) : f32[T, D=4]
      %4 = mul(%2, %3) : f32[T, D=4]
      result logits = %4
    }
    "
  `);
});
