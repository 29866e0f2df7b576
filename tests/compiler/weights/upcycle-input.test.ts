/** Rows from what a source is given on prompts, against a forward pass in plain loops: `input`, and `normalize`. */
import { describe, expect, test } from "vitest";
import { expandUpcycle } from "../../../compiler/index.ts";
import { MoeError } from "../../../grammar/index.ts";
import { add, type Layer, mean, runLlama, scale, unit, type Vector } from "../../support/plain-llama.ts";
import { D, F, L, make, matrixOf, modelFrom, recipeOf, V, type Weights, worst } from "./upcycle-support.ts";

const llama = modelFrom("Llama");
const SIZES = { L, D, F, G: 1, R: 2, C: 2, eps: 1e-6 };
const runLayers = (weights: Weights, ids: readonly number[]): readonly Layer[] =>
  runLlama((path) => weights.get(path)!, SIZES, ids);

const prompted = (first: string, second: string): string => `
import { Llama, Mixtral } from "std"
upcycle prompted(src: Llama) -> Mixtral(N: 2, K: 1) {
  default = src
  blocks[l].ffn {
    experts[n]   = src.blocks[l].mlp
    pick.score.w = stack[N](${first}, ${second})
  }
}`;

/** The rows of every layer against those of a formula of what the plain model computes. */
function expectRows(
  first: string,
  second: string,
  formula: (run: (ids: readonly number[]) => Layer) => readonly [Vector, Vector],
): void {
  const { sources, target } = make(recipeOf(prompted(first, second)), [llama]);
  for (let l = 0; l < L; l++) {
    const rows = formula((ids) => runLayers(sources[0]!, ids)[l]!);
    expect(worst(target.get(`blocks[${l}].ffn.pick.score.w`)!, rows.flat()), `layer ${l}`).toBeLessThan(1e-12);
  }
}

describe("input", () => {
  test("is what the part is given at every token, and its mean is a row", () => {
    expectRows(
      "mean[T](input(src.blocks[l].mlp, ids: [5, 3, 6]))",
      "mean[T](input(src.blocks[l].attn, ids: [1, 2])) - 0.5 * sum[T](input(src.blocks[l], ids: [4, 4, 0]))",
      (run) => [mean(run([5, 3, 6]).mlp), add(mean(run([1, 2]).attention), scale(mean(run([4, 4, 0]).stream), -1.5))],
    );
  });

  test("begins every prompt by itself; of each all tokens, the last, or their mean", () => {
    const [long, short] = [
      [5, 3, 6],
      [2, 0],
    ];
    const given = (each: string): string =>
      `mean[T](input(src.blocks[l].mlp, ids: [[5, 3, 6], [2, 0]]${each})) - mean[T](input(src.blocks[l].mlp, ids: [1]))`;
    expectRows(given(""), given(`, each: "last"`), (run) => {
      const away = scale(run([1]).mlp[0]!, -1);
      return [
        add(mean([...run(long).mlp, ...run(short).mlp]), away),
        add(mean([run(long).mlp[2]!, run(short).mlp[1]!]), away),
      ];
    });
    expectRows(given(`, each: "mean"`), given(`, each: "token"`), (run) => {
      const away = scale(run([1]).mlp[0]!, -1);
      return [
        add(mean([mean(run(long).mlp), mean(run(short).mlp)]), away),
        add(mean([...run(long).mlp, ...run(short).mlp]), away),
      ];
    });
  });

  test("is taken at chosen tokens, with weights", () => {
    expectRows(
      "sum[T](input(src.blocks[l].mlp, ids: [5, 3, 6]), at: [2, 0], weights: [3, -0.5])",
      "mean[T](input(src.blocks[l].mlp, ids: [5, 3, 6]), weights: [1, 2, 1])",
      (run) => {
        const [a, b, c] = run([5, 3, 6]).mlp as readonly [Vector, Vector, Vector];
        return [add(scale(c, 3), scale(a, -0.5)), mean([a, b, b, c])];
      },
    );
  });

  test("is normalised to rows of length one, each by itself", () => {
    const row = (ids: string): string => `mean[T](input(src.blocks[l].mlp, ids: ${ids}))`;
    expectRows(`normalize[D](${row("[5, 3]")} - ${row("[2]")})`, `normalize[D](${row("[1]")})`, (run) => [
      unit(add(mean(run([5, 3]).mlp), scale(run([2]).mlp[0]!, -1))),
      unit(run([1]).mlp[0]!),
    ]);
    const { sources, target } = make(
      recipeOf(
        prompted(row("[5, 3]"), row("[1]"))
          .replace("stack", "normalize[D](stack")
          .replace(/\)\n {2}\}/, "))\n  }"),
      ),
      [llama],
    );
    for (let l = 0; l < L; l++) {
      const rows = [mean(runLayers(sources[0]!, [5, 3])[l]!.mlp), runLayers(sources[0]!, [1])[l]!.mlp[0]!].map(unit);
      expect(worst(target.get(`blocks[${l}].ffn.pick.score.w`)!, rows.flat())).toBeLessThan(1e-12);
    }
  });

  test("keeps one row per sum, however many tokens and prompts there are", () => {
    const { item, scope } = recipeOf(
      prompted(
        "mean[T](input(src.blocks[l].mlp, ids: [[5, 3, 6], [1, 2]])) - mean[T](input(src.blocks[l].mlp, ids: [4]))",
        "zeros",
      ),
    );
    const { assignments } = expandUpcycle(item, scope, [llama]);
    const terms = assignments.filter((a) => a.path === "blocks[1].ffn.pick.score.w").flatMap((a) => a.terms);
    expect(terms.filter((t) => t.kind === "activation")).toMatchObject([
      {
        kind: "activation",
        activation: {
          source: 0,
          part: "blocks[1].mlp",
          width: D,
          rows: [
            [
              { prompt: { ids: [5, 3, 6] }, tokens: [0, 1, 2], weight: 1 / 5 },
              { prompt: { ids: [1, 2] }, tokens: [0, 1], weight: 1 / 5 },
              { prompt: { ids: [4] }, tokens: [0], weight: -1 },
            ],
          ],
        },
      },
    ]);
  });

  test("of a mixture is what its router sees", () => {
    const mixtral = modelFrom("Mixtral", "N: 2  K: 1");
    const text = `
import { Mixtral } from "std"
upcycle again(src: Mixtral) -> Mixtral(N: 2, K: 1) {
  default = src
  blocks[l].ffn.pick.score.w = stack[N](${["ffn", "ffn.pick"].map((part) => `mean[T](input(src.blocks[l].${part}, ids: [5, 3]))`).join(", ")})
  ignore src.blocks[l].ffn.pick
}`;
    const { target } = make(recipeOf(text), [mixtral]);
    for (let l = 0; l < L; l++) {
      const [block, router] = matrixOf(target, `blocks[${l}].ffn.pick.score.w`, 2, D);
      expect(block).toEqual(router);
      expect(Math.max(...block!.map(Math.abs))).toBeGreaterThan(0.01);
    }
  });

  test("on a small instance ids are taken modulo its vocabulary, and texts by their letters", () => {
    const text = prompted(
      `mean[T](input(src.blocks[l].mlp, ids: [${V + 3}]))`,
      `mean[T](input(src.blocks[l].mlp, text: ["a", "bc"]))`,
    );
    const { sources, target } = make(recipeOf(text), [llama]);
    const [run, a, bc] = [[3], [97 % V], [98 % V, 99 % V]].map((ids) => runLayers(sources[0]!, ids)[0]!.mlp);
    const rows = [run![0]!, mean([...a!, ...bc!])];
    expect(worst(target.get("blocks[0].ffn.pick.score.w")!, rows.flat())).toBeLessThan(1e-12);
  });
});

describe("rows from a list of prompts", () => {
  const prompts = [["ab", "c"], "de", ["f"]];
  /** On a small instance a text is its letters. */
  const tokens = (text: string): number[] => Array.from(text, (c) => c.codePointAt(0)! % V);

  test.each([0, 1, 0.5])("by `prompted`, without a share of %f of what they have in common", (common) => {
    const models = [0, 1, 2, 3].map(() => llama);
    const { sources, target } = make("prompted", models, { prompts, common });
    const [base, ...experts] = sources;
    for (let l = 0; l < L; l++) {
      const rows = prompts.map((p) => mean([p].flat().flatMap((text) => runLayers(base!, tokens(text))[l]!.mlp)));
      const expected = rows.map((row) => unit(add(row, scale(mean(rows), -common))));
      expect(worst(target.get(`blocks[${l}].ffn.pick.score.w`)!, expected.flat())).toBeLessThan(1e-12);
      const up = experts.flatMap((weights) => [...weights.get(`blocks[${l}].mlp.up.w`)!]);
      expect([...target.get(`blocks[${l}].ffn.experts.up.w`)!]).toEqual(up);
      const q = `blocks[${l}].attn.q.w`;
      expect(worst(target.get(q)!, mean(experts.map((weights) => [...weights.get(q)!])))).toBeLessThan(1e-14);
    }
  });

  test("is one for every model", () => {
    expect(() => make("prompted", [llama, llama, llama], { prompts })).toThrow("`N` is 2, and 3 are stacked");
    expect(() => make("prompted", [llama, llama, llama], { prompts: "a" })).toThrow("a string takes no brackets here");
    expect(() => make("prompted", [llama, llama, llama])).toThrow("`prompted` needs `prompts`");
  });

  test("an open index of a list is what stack, concat, mean and sum run over", () => {
    const rows = (verb: string): Float64Array => {
      const text = `
import { Llama, Mixtral } from "std"
upcycle scaled(src: Llama, by = [2, 0.5, -1]) -> Mixtral(N: 3, K: 1) {
  default = src
  blocks[l].ffn {
    experts[n]   = src.blocks[l].mlp
    pick.score.w = ${verb}
  }
}`;
      return make(recipeOf(text), [llama]).target.get("blocks[1].ffn.pick.score.w")!;
    };
    const row = (i: string): string => `by[${i}] * mean[T](input(src.blocks[l].mlp, ids: [3, 5]))`;
    const one = runLayers(make("average", [llama]).sources[0]!, [3, 5])[1]!.mlp;
    const expected = [2, 0.5, -1].flatMap((w) => scale(mean(one), w));
    expect(worst(rows(`stack[N](${row("i")})`), expected)).toBeLessThan(1e-12);
    const summed = `stack[N](sum[N](${row("i")}), mean[N](${row("j")}), zeros)`;
    expect(worst(rows(summed), [...scale(mean(one), 1.5), ...scale(mean(one), 0.5), 0, 0, 0, 0])).toBeLessThan(1e-12);
  });
});

test("what is wrong in every layer is told once", () => {
  const told: string[] = [];
  try {
    make("prompted", [llama, llama, llama], { prompts: ["a", "b", "c"] });
  } catch (error) {
    told.push(...(error as MoeError).diagnostics.map((d) => d.message));
  }
  expect(told).toEqual(["`N` is 2, and 3 are stacked"]);
});

describe("what is refused on real sources", () => {
  const exact = { tokenize: () => [1, 2, 3], longest: () => 4, wraps: false };
  const refusal = (first: string): string => {
    const { item, scope } = recipeOf(prompted(first, "zeros"));
    try {
      expandUpcycle(item, scope, [llama], new Map(), null, exact);
    } catch (error) {
      if (error instanceof MoeError) return error.diagnostics.map((d) => `${d.code}: ${d.message}`)[0]!;
      throw error;
    }
    return "nothing";
  };

  test.each([
    ["ids: [7]", "upcycle/prompt: 7 is not a token: the vocabulary has 7"],
    ["ids: [1, 2, 3, 4, 5]", "upcycle/prompt: 5 tokens are more than the 4 that the source was made for"],
    [`text: "three tokens"`, "nothing"],
  ])("%s", (prompts, expected) => {
    expect(refusal(`mean[T](input(src.blocks[l].mlp, ${prompts}))`)).toBe(expected);
  });
});
