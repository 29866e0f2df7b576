import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { checkModule } from "../../compiler/index.ts";
import { openWorkspace } from "../../runtime/load/modules.ts";
import { diagnose } from "../support/programs.ts";

const imports = 'import { Linear, TopK, SoftmaxTopK } from "std"\n';

describe("lints", () => {
  const block = (router: string) => `import { MoE, ${router.split("(")[0]} } from "std"
layer Block(D, F, N) {
  ffn = MoE(D, F, N, ${router})
  forward(x: [T, D]) -> [T, D] = x + ffn(x)
}
`;

  test.each([
    ["TopK(K: 1)", ["3 lint/constant-weight"]],
    ["TopK(K: 2)", []],
    ["SoftmaxTopK(K: 1)", []],
    ["SoftmaxTopK(K: 1, renormalize: true)", ["3 lint/constant-weight"]],
    ["SoftmaxTopK(K: 2, renormalize: true)", []],
  ])("a single choice that is divided by itself is told: %s", (router, expected) => {
    expect(diagnose(block(router)).map((d) => d.split(" ").slice(0, 2).join(" "))).toEqual(expected);
  });

  const lossy = (loss: string) => `import { Linear } from "std"
router Mine(D, N, K) where K <= N {
  score = Linear(D -> N)
  forward(x: [T, D]) -> sparse[T, K of N] {
    z    = f32(score(x))
    p    = softmax[N](z)
    s, i = topk[N -> K](z)
    loss ${loss}
    return route[N](i, softmax[K](s))
  }
}
`;

  test.each([
    ["load_balance[N](p, i)", []],
    ["router_z[N](z)", []],
    ["mean[T](sum[N](p))", ["lint/loss-axis"]],
    ["sum[N](mean[T](p) * mean[T](p))", []],
    ["sum[N](mean[T](sum[K](one_hot[N](i))))", ["lint/loss-gradient"]],
    ["mean[T, N](detach(p))", ["lint/loss-gradient"]],
  ])("loss %s", (loss, expected) => {
    expect(diagnose(lossy(loss)).map((d) => d.split(" ")[1])).toEqual(expected);
  });

  test("names of arguments are not uses, but types and conditions are", () => {
    const text = `import { Linear } from "std"
layer Gate(D, F, bias = false, extra = false) {
  up = Linear(D -> F, bias: false)
  b  = param[F](zeros) if extra
  forward(x: [T, D]) -> [T, F] {
    if extra { return up(x) + b }
    return up(x)
  }
}
`;
    expect(diagnose(text)).toEqual(["2 lint/unused parameter `bias` of `Gate` is never used"]);
  });

  test("nothing is called unused while something is wrong", () => {
    expect(diagnose(`${imports}fn f(x: [..]) -> [..] = y\n`)).toEqual(["2 name/unknown there is no name `y` here"]);
  });
});

describe("both sides of a switch are read", () => {
  test("a mistake behind a flag that is off by default is found", () => {
    const text = `import { Linear } from "std"
layer Gate(D, F, twice = false) {
  up = Linear(D -> F)
  forward(x: [T, D]) -> [T, F] {
    if twice { return up(up(x)) }
    return up(x)
  }
}
`;
    expect(diagnose(text)).toEqual(["5 shape/missing-axis `Linear`'s `x` needs an axis `D`, which it calls `I`"]);
  });
});

describe("configurations", () => {
  const model = `import { Linear } from "std"
model Small(D, F) where F % D == 0 {
  up = Linear(D -> F)
  forward(x: [T, D]) -> [T, F] = up(x)
}
`;
  test.each([
    ["D: 4  F: 8", []],
    ["D: 4  F: 6", ["type/where"]],
    ["D: 4", ["type/missing-argument"]],
    ["D: 4  F: 8  G: 2", ["name/no-parameter"]],
    ["D: 4  F: 8  F: 8", ["name/bound-twice"]],
    ["D: 4  F: 2.5", ["type/parameter-kind"]],
    ["D: 4  F: 0", ["shape/not-positive"]],
    ["D: -4  F: 8", ["shape/not-positive"]],
    ['D: "4"  F: 8', ["type/parameter-kind"]],
  ])("{ %s }", (fields, expected) => {
    expect(diagnose(`${model}config c: Small { ${fields} }\n`).map((d) => d.split(" ")[1])).toEqual(expected);
  });

  test("of a model that is not there", () => {
    expect(diagnose(`${model}config c: Smal { D: 4  F: 8 }\n`)).toEqual([
      "6 name/unknown there is no model `Smal` here",
    ]);
  });
});

describe("tests", () => {
  const subject = 'import { Linear } from "std"\ntest "t" for Linear(2 -> 1) {\n  w = [[1, 2]]\n';
  test.each([
    ["x = [[1, 1]]\n  expect close(out, [[3]])", []],
    ["x = [[1, 1], [2, 2]]\n  expect close(out, [[3], [6]])", []],
    ["x = [1, 1]\n  expect close(out, [3])", []],
    ["x = [[[1, 1]]]\n  expect close(out, [[[3]]])", ["shape/literal-rank"]],
    ["x = [[1, 1, 1]]\n  expect close(out, [[3]])", ["shape/axis-mismatch"]],
    ["x = [[1, 1]]\n  b = [1]\n  expect close(out, [[3]])", ["name/unknown"]],
    ["x = [[1, 1]]\n  expect close(output, [[3]])", ["name/unknown"]],
    ["x = [[1, 1]]", ["test/no-expectation"]],
    ["expect close(out, [[3]])", ["type/missing-argument"]],
  ])("%j", (statements, expected) => {
    expect(diagnose(`${subject}  ${statements}\n}\n`).map((d) => d.split(" ")[1])).toEqual(expected);
  });
});

test("an upcycling for any model, with a parameter of any kind, is tried on few models until it fits", () => {
  const workspace = openWorkspace();
  const path = "stdlib/upcycle/prompted.moe";
  const scope = workspace.open({ path, text: readFileSync(path, "utf8") });
  let asked = 0;
  const mixtures = () => {
    asked++;
    return scope.mixtures();
  };
  expect(checkModule({ ...scope, mixtures })).toEqual([]);
  // Each small instance asks which models are mixtures of which.
  expect(asked).toBeLessThan(30);
});
