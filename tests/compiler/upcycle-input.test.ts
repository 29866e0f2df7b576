/** Rows from what a source is given on prompts, against a forward pass in plain loops: `input`, and `normalize`. */
import { describe, expect, test } from "vitest";
import { expandUpcycle } from "../../compiler/index.ts";
import { MoeError } from "../../grammar/index.ts";
import { D, F, L, make, matrixOf, modelFrom, recipeOf, V, type Weights, worst } from "./upcycle-support.ts";

type Vector = readonly number[];

const [CHANNELS, HEADS, EPS] = [2, 2, 1e-6];
const llama = modelFrom("Llama");

const multiply = (matrix: readonly Vector[], x: Vector): number[] =>
  matrix.map((row) => row.reduce((sum, w, i) => sum + w * x[i]!, 0));
const add = (a: Vector, b: Vector): number[] => a.map((x, i) => x + b[i]!);
const normed = (x: Vector, w: Float64Array): number[] => {
  const root = Math.sqrt(x.reduce((sum, v) => sum + v * v, 0) / x.length + EPS);
  return x.map((v, i) => (v / root) * w[i]!);
};
/** Channels i and i + half are turned by position / theta^(2i / channels). */
const turned = (x: Vector, position: number): number[] => {
  const half = x.length / 2;
  return x.map((_, i) => {
    const angle = position / 10000 ** ((2 * (i % half)) / x.length);
    const [a, b] = [x[i % half]!, x[(i % half) + half]!];
    return i < half ? a * Math.cos(angle) - b * Math.sin(angle) : b * Math.cos(angle) + a * Math.sin(angle);
  });
};

interface Layer {
  /** The residual stream that enters, and what attention and feed-forward are given: [T][D]. */
  readonly stream: readonly Vector[];
  readonly attention: readonly Vector[];
  readonly mlp: readonly Vector[];
}

/** A Llama with one head of keys and values, every layer of it: nothing here is the compiler's. */
function runLlama(weights: Weights, ids: readonly number[]): readonly Layer[] {
  const of = (path: string, rows: number, columns: number): number[][] => matrixOf(weights, path, rows, columns);
  let x: readonly Vector[] = ids.map((id) => of("embed.w", V, D)[id]!);
  return Array.from({ length: L }, (_, l): Layer => {
    const path = `blocks[${l}]`;
    const stream = x;
    const attention = stream.map((row) => normed(row, weights.get(`${path}.norm1.w`)!));
    const queries = attention.map((row, t) => {
      const all = multiply(of(`${path}.attn.q.w`, HEADS * CHANNELS, D), row);
      return Array.from({ length: HEADS }, (_, h) => turned(all.slice(h * CHANNELS, (h + 1) * CHANNELS), t));
    });
    const keys = attention.map((row, t) => turned(multiply(of(`${path}.attn.k.w`, CHANNELS, D), row), t));
    const values = attention.map((row) => multiply(of(`${path}.attn.v.w`, CHANNELS, D), row));
    const mixed = queries.map((heads, t) =>
      heads.flatMap((q) => {
        const scores = keys.slice(0, t + 1).map((k) => k.reduce((sum, v, i) => sum + v * q[i]!, 0) / CHANNELS ** 0.5);
        const shares = scores.map((s) => Math.exp(s));
        const total = shares.reduce((a, b) => a + b, 0);
        return Array.from({ length: CHANNELS }, (_, c) =>
          shares.reduce((sum, share, s) => sum + (share / total) * values[s]![c]!, 0),
        );
      }),
    );
    const after = mixed.map((row, t) => add(stream[t]!, multiply(of(`${path}.attn.o.w`, D, HEADS * CHANNELS), row)));
    const mlp = after.map((row) => normed(row, weights.get(`${path}.norm2.w`)!));
    x = mlp.map((row, t) => {
      const gate = multiply(of(`${path}.mlp.gate.w`, F, D), row).map((g) => g / (1 + Math.exp(-g)));
      const up = multiply(of(`${path}.mlp.up.w`, F, D), row);
      return add(
        after[t]!,
        multiply(
          of(`${path}.mlp.down.w`, D, F),
          gate.map((g, i) => g * up[i]!),
        ),
      );
    });
    return { stream, attention, mlp };
  });
}

const prompted = (first: string, second: string): string => `
import { Llama, Mixtral } from "std"
upcycle prompted(src: Llama) -> Mixtral(N: 2, K: 1) {
  default = src
  blocks[l].ffn {
    experts[n]   = src.blocks[l].mlp
    pick.score.w = stack[N](${first}, ${second})
  }
}`;

const mean = (rows: readonly Vector[]): number[] =>
  rows[0]!.map((_, i) => rows.reduce((sum, row) => sum + row[i]!, 0) / rows.length);
const unit = (row: Vector): number[] => {
  const length = Math.sqrt(row.reduce((sum, v) => sum + v * v, 0));
  return row.map((v) => v / length);
};

/** The rows of every layer against those of a formula of what the plain model computes. */
function expectRows(
  first: string,
  second: string,
  formula: (run: (ids: readonly number[]) => Layer) => readonly [Vector, Vector],
): void {
  const { sources, target } = make(recipeOf(prompted(first, second)), [llama]);
  for (let l = 0; l < L; l++) {
    const rows = formula((ids) => runLlama(sources[0]!, ids)[l]!);
    expect(worst(target.get(`blocks[${l}].ffn.pick.score.w`)!, rows.flat()), `layer ${l}`).toBeLessThan(1e-12);
  }
}

describe("input", () => {
  test("is what the part is given at every token, and its mean is a row", () => {
    expectRows(
      "mean[T](input(src.blocks[l].mlp, ids: [5, 3, 6]))",
      "mean[T](input(src.blocks[l].attn, ids: [1, 2])) - 0.5 * sum[T](input(src.blocks[l], ids: [4, 4, 0]))",
      (run) => [
        mean(run([5, 3, 6]).mlp),
        add(
          mean(run([1, 2]).attention),
          mean(run([4, 4, 0]).stream).map((v) => -1.5 * v),
        ),
      ],
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
      const away = run([1]).mlp[0]!.map((v) => -v);
      return [
        add(mean([...run(long).mlp, ...run(short).mlp]), away),
        add(mean([run(long).mlp[2]!, run(short).mlp[1]!]), away),
      ];
    });
    expectRows(given(`, each: "mean"`), given(`, each: "token"`), (run) => {
      const away = run([1]).mlp[0]!.map((v) => -v);
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
        return [
          add(
            c.map((v) => 3 * v),
            a.map((v) => -0.5 * v),
          ),
          mean([a, b, b, c]),
        ];
      },
    );
  });

  test("is normalised to rows of length one, each by itself", () => {
    const row = (ids: string): string => `mean[T](input(src.blocks[l].mlp, ids: ${ids}))`;
    expectRows(`normalize[D](${row("[5, 3]")} - ${row("[2]")})`, `normalize[D](${row("[1]")})`, (run) => [
      unit(
        add(
          mean(run([5, 3]).mlp),
          run([2]).mlp[0]!.map((v) => -v),
        ),
      ),
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
      const rows = [mean(runLlama(sources[0]!, [5, 3])[l]!.mlp), runLlama(sources[0]!, [1])[l]!.mlp[0]!].map(unit);
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
    const [run, a, bc] = [[3], [97 % V], [98 % V, 99 % V]].map((ids) => runLlama(sources[0]!, ids)[0]!.mlp);
    const rows = [run![0]!, mean([...a!, ...bc!])];
    expect(worst(target.get("blocks[0].ffn.pick.score.w")!, rows.flat())).toBeLessThan(1e-12);
  });
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
