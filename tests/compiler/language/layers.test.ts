/** Layers of a stack that differ by their number: templates, paths, functions, and maps over them. */
import { describe, expect, test } from "vitest";
import { expandMap } from "../../../compiler/index.ts";
import { DiagnosticBag, format } from "../../../grammar/index.ts";
import { diagnose, findItem, modelOf, openRight, programOf } from "../../support/programs.ts";

const stack = (layer: string, params = "") => `
import { Linear, Sequential, SwiGLU, MoE, TopK, Attention } from "std"
layer Scale(D, by = 1.0, wide = false) {
  w     = param[D](ones)
  extra = Linear(D -> D) if wide
  forward(x: [T, D]) -> [T, D] = if wide then extra(x) * w else x * w * by
}
model Tower(L, D${params}) {
  blocks[l] = L of ${layer}
  forward(x: [T, D]) -> [T, D] {
    for b in blocks { x = b(x) }
    return x
  }
}
config six: Tower { L: 6, D: 4 }
`;

describe("layers by number", () => {
  test("layers made alike share one function, in the order of the layers", () => {
    const program = programOf(stack("Scale(D, by: if l % 3 == 0 then 2.0 else 3.0)"));
    expect(program.functions.size).toBe(2);
    const names = [...program.functions.keys()];
    const calls: string[] = [];
    for (let node = program.main.outputs[0]!.node; node.op === "call"; node = node.inputs[0]!)
      calls.unshift((node.attrs as { fn: string }).fn);
    expect(calls.map((name) => names.indexOf(name))).toEqual([0, 1, 1, 0, 1, 1]);
  });

  test("layers of different members have the parameters of their own kind", () => {
    const model = modelOf(stack("Scale(D, wide: l >= 4)"));
    expect(model.parameters.map((p) => p.path)).toEqual([
      ...[0, 1, 2, 3].map((i) => `blocks[${i}].w`),
      ...[4, 5].flatMap((i) => [`blocks[${i}].w`, `blocks[${i}].extra.w`]),
    ]);
  });

  test("different layers, and different parts handed to them, are told apart", () => {
    expect(programOf(stack("if l < 2 then Linear(D -> D) else Scale(D)")).functions.size).toBe(2);
    const parts = "Sequential(D, Linear(O: D), if l == 5 then MoE(F: 8, N: 2, R: TopK(K: 1)) else SwiGLU(F: 8))";
    expect(programOf(stack(parts)).functions.size).toBe(2);
  });

  test("lists of a configuration are read by number and searched", () => {
    const kinds = `, kinds = ["a", "b", "a", "b", "b", "a"], odd = [1, 3]`;
    const by = `if kinds[l] == "a" then 2.0 else if contains(odd, l) then 3.0 else 4.0`;
    expect(programOf(stack(`Scale(D, by: ${by})`, kinds)).functions.size).toBe(3);
  });

  test.each([
    ["range(0, L)", [0, 1, 2, 3, 4, 5]],
    ["range(1, L, 2)", [1, 3, 5]],
    ["range(4, 2)", []],
    ["without(range(0, L), [1, 4])", [0, 2, 3, 5]],
    ['dense_layers(L, "every other")', [0, 2, 4]],
    ['dense_layers(L, "last half")', [0, 1, 2]],
    ["dense_layers(L, [5])", [0, 1, 2, 3, 4]],
  ])("%s has the entries %j", (list, entries) => {
    const model = modelOf(stack(`Scale(D, wide: contains(${list}, l))`));
    const wide = model.parameters.flatMap((p) => /^blocks\[(\d)\]\.extra/.exec(p.path)?.[1] ?? []);
    expect(wide.map(Number)).toEqual(entries);
  });

  test("lists that are none are told", () => {
    expect(diagnose(stack("Scale(D, wide: contains(without(L, [1]), l))"))[0]).toContain("`without` takes two lists");
    expect(diagnose(stack('Scale(D, wide: contains(range("a", 2), l))'))[0]).toContain("`range` takes two numbers");
  });

  test("a number that stands outside of its constructor is not known", () => {
    expect(diagnose("layer A(D) {\n  blocks[l] = 2 of A(D)\n  forward(x: [T, D]) -> [T, D] = x * l\n}")).not.toEqual(
      [],
    );
    expect(diagnose("layer A(D) {\n  w[l] = param[D]\n  forward(x: [T, D]) -> [T, D] = x * w\n}")).toEqual([
      "2 type/not-a-stack only a stack of layers is numbered",
    ]);
  });

  test("the layout keeps the number where it is", () => {
    const text = "layer A(D) {\n  blocks[l]=L of B(D,l==0)\n  other = C(D)\n  forward(x: [T, D]) -> [T, D] = x\n}\n";
    expect(format({ path: "a.moe", text }).text).toContain("  blocks[l] = L of B(D, l == 0)\n  other     = C(D)\n");
  });
});

describe("maps of layers by number", () => {
  const map = (rules: string) => `${stack("Scale(D, wide: l >= 4)").replace("config six", "config tower")}
map file: Tower {
  config { L <-> layers   D <-> width }
${rules}
}`;
  const tensors = (rules: string) => {
    const text = map(rules);
    const scope = openRight(text);
    const bag = new DiagnosticBag();
    const { entries, ignored } = expandMap({ item: findItem(scope, "map"), scope }, modelOf(text), null, bag);
    expect(bag.list).toEqual([]);
    return { names: entries.map((e) => `${e.tensor} [${e.shape.join(", ")}]`), entries, ignored };
  };

  test("a rule may be for some layers only", () => {
    const { names } = tensors(
      '  blocks[l] <-> "l.{l}" {\n    w <-> "w" if l < 4\n    w <-> "v" if l >= 4\n    extra.w <-> "x" if l >= 4\n  }',
    );
    expect(names).toEqual(
      [..."0123"].map((i) => `l.${i}.w [4]`).concat([..."45"].flatMap((i) => [`l.${i}.v [4]`, `l.${i}.x [4, 4]`])),
    );
  });

  test("a pattern reads sizes, and two stars stand for any rest", () => {
    const rules = '  blocks[l] <-> "l.{l}" {\n    w <-> "w"\n    extra.w <-> "x"\n  }\n  ignore "l.{L}.**"';
    const { ignored } = tensors(rules);
    expect(["l.6.a.b", "l.6.w", "l.5.a", "l.6"].map(ignored)).toEqual([true, true, false, false]);
  });

  test("parts of different sizes lie one after the other, inside of a product too", () => {
    const text = `
import { Linear } from "std"
model Pair(H, D, A, B) {
  a = Linear(D -> [H, A])
  b = Linear(D -> [H, B])
  forward(x: [T, D]) -> [T, H] = sum[A](a(x)) + sum[B](b(x))
}
map file: Pair {
  config { H <-> h   D <-> d   A <-> a   B <-> b }
  { a.w, b.w } <-> "ab" as [H*(A + B), D]
}
config small: Pair { H: 2, D: 3, A: 4, B: 5 }
`;
    const scope = openRight(text);
    const { entries } = expandMap({ item: findItem(scope, "map"), scope }, modelOf(text), null, new DiagnosticBag());
    expect(entries.map(({ shape, pieces }) => ({ shape, pieces }))).toEqual([
      {
        shape: [18, 3],
        pieces: [
          { path: "a.w", target: 0, sizes: [2, 4, 3], source: 0, strides: [27, 3, 1] },
          { path: "b.w", target: 0, sizes: [2, 5, 3], source: 12, strides: [27, 3, 1] },
        ],
      },
    ]);
  });
});
