/** Merges of dense models against plain loops, element by element: averages, arcs, task vectors, TIES, DARE. */
import { describe, expect, test } from "vitest";
import type { Model } from "../../../compiler/index.ts";
import { D, make, matrixOf, mixture, modelFrom, recipeOf, V, type Weights, worst } from "./upcycle-support.ts";

const llama = modelFrom("Llama");
const models = (count: number): Model[] => Array.from({ length: count }, () => llama);

/** Every parameter of what was made against a formula of the sources' arrays. */
function expectAll(
  { sources, target }: { readonly sources: readonly Weights[]; readonly target: Weights },
  formula: (arrays: readonly Float64Array[]) => ArrayLike<number>,
): void {
  for (const [path, data] of target) {
    const expected = formula(sources.map((s) => s.get(path)!));
    expect(worst(data, expected), path).toBeLessThan(1e-12);
  }
}

const zip = (arrays: readonly Float64Array[], f: (xs: number[]) => number): Float64Array =>
  arrays[0]!.map((_, i) => f(arrays.map((a) => a[i]!)));

test("a weighted average divides by the sum of the weights", () => {
  expectAll(make("weighted_average", models(3), { weights: [3, 1, 0.5] }), (arrays) =>
    zip(arrays, ([a, b, c]) => (3 * a! + b! + 0.5 * c!) / 4.5),
  );
});

test("weights are as many as models, and do not cancel out", () => {
  expect(() => make("weighted_average", models(3), { weights: [1, 2] })).toThrow("a list of 3 numbers");
  expect(() => make("weighted_average", models(2), { weights: [1, -1] })).toThrow("add up to 0");
});

test("task arithmetic weighs its differences", () => {
  expectAll(make("task_arithmetic", models(3), { scale: 0.4, weights: [2, 0.5] }), (arrays) =>
    zip(arrays, ([base, a, b]) => base! + 0.4 * (2 * (a! - base!) + 0.5 * (b! - base!))),
  );
});

test.each([0, 0.3, 1])("slerp by %d goes along the arc", (t) => {
  expectAll(make("slerp", models(2), { t }), ([a, b]) => {
    const [aa, ab, bb] = [
      [a!, a!],
      [a!, b!],
      [b!, b!],
    ].map(([x, y]) => x!.reduce((sum, value, i) => sum + value * y![i]!, 0)) as [number, number, number];
    const angle = Math.acos(ab / Math.sqrt(aa * bb));
    return zip([a!, b!], ([x, y]) => (Math.sin((1 - t) * angle) * x! + Math.sin(t * angle) * y!) / Math.sin(angle));
  });
});

test("slerp of a model with itself is a line", () => {
  const { sources } = make("slerp", models(2));
  expectAll(make("slerp", models(2), { t: 0.3 }, null, [sources[0]!, sources[0]!]), ([a]) => a!);
});

/** The largest share of elements; float32 magnitudes, ties to the lowest index. */
function trimmed(x: Float64Array, density: number): Float64Array {
  const order = Array.from(x.keys()).sort(
    (i, j) => Math.fround(Math.abs(x[j]!)) - Math.fround(Math.abs(x[i]!)) || i - j,
  );
  const kept = new Set(order.slice(0, Math.floor(density * x.length)));
  return x.map((value, i) => (kept.has(i) ? value : 0));
}

function elected(deltas: readonly Float64Array[], weights: readonly number[], normalize: boolean): Float64Array {
  return zip(deltas, (xs) => {
    const weighted = xs.map((x, k) => weights[k]! * x);
    const sign = weighted.reduce((a, b) => a + b, 0) >= 0 ? 1 : -1;
    const agreeing = weighted.map((x) => Math.sign(x) === sign);
    const sum = weighted.reduce((total, x, k) => total + (agreeing[k] ? x : 0), 0);
    const weight = weights.reduce((total, w, k) => total + (agreeing[k] ? w : 0), 0);
    return normalize && weight > 0 ? sum / weight : sum;
  });
}

const minus = (a: Float64Array, b: Float64Array): Float64Array => a.map((x, i) => x - b[i]!);

describe("TIES", () => {
  test.each([
    [0.2, 1, null],
    [0.5, 0.7, [1, 2, 0.5]],
    [1, 1, null],
  ])("trims to %d, elects signs, adds %d of the mean, with weights %j", (density, scale, weights) => {
    expectAll(make("ties", models(4), { density, scale, weights }), ([base, ...tuned]) => {
      const deltas = tuned.map((x) => trimmed(minus(x, base!), density));
      const merged = elected(deltas, weights ?? [1, 1, 1], true);
      return base!.map((x, i) => x + scale * merged[i]!);
    });
  });

  test("keeps the first of equal magnitudes", () => {
    const { sources } = make("ties", models(2));
    const zeros: Weights = new Map([...sources[0]!].map(([path, data]) => [path, data.map(() => 0)]));
    const equal: Weights = new Map(
      [...sources[0]!].map(([path, data]) => [path, data.map((_, i) => (i % 2 ? -1 : 1))]),
    );
    const { target } = make("ties", models(2), { density: 0.3 }, null, [zeros, equal]);
    for (const data of target.values()) {
      const kept = Math.floor(0.3 * data.length);
      expect([...data]).toEqual([...data.keys()].map((i) => (i >= kept ? 0 : i % 2 ? -1 : 1)));
    }
  });
});

describe("DARE", () => {
  const differences = ({ sources, target }: ReturnType<typeof make>): [Float64Array, Float64Array][] =>
    [...target].map(([path, data]) => {
      const [base, tuned] = [sources[0]!.get(path)!, sources[1]!.get(path)!];
      return [minus(data, base), minus(tuned, base)];
    });

  test("keeps a random share of each difference and its L1 norm", () => {
    const [kept, all] = [0, 0].map(() => 0) as [number, number];
    let [counted, total] = [kept, all];
    for (const [made, given] of differences(make("dare", models(2), { density: 0.6, seed: 5 }))) {
      const there = [...made.keys()].filter((i) => Math.abs(made[i]!) > 1e-12);
      if (there.length === 0) continue;
      const factor = made[there[0]!]! / given[there[0]!]!;
      for (const i of there) expect(made[i]! / given[i]!).toBeCloseTo(factor, 9);
      const norm = (x: Iterable<number>): number => [...x].reduce((sum, value) => sum + Math.abs(value), 0);
      expect(norm(made)).toBeCloseTo(norm(given), 9);
      counted += there.length;
      total += made.length;
    }
    expect(counted / total).toBeCloseTo(0.6, 1);
  });

  test("draws for every model and seed by themselves, and the same every time", () => {
    const masks = (options: Record<string, number>): string =>
      differences(make("dare", models(2), { density: 0.5, ...options }))
        .map(([made]) => [...made].map((x) => (Math.abs(x) > 1e-12 ? 1 : 0)).join(""))
        .join(" ");
    expect(masks({ seed: 1 })).toBe(masks({ seed: 1 }));
    expect(masks({ seed: 1 })).not.toBe(masks({ seed: 2 }));
    const { sources, target } = make("dare", models(3), { density: 0.5 });
    const parts = [...target].flatMap(([path, data]) => {
      const [base, a, b] = sources.map((s) => s.get(path)!);
      // Where nothing, one difference or both were kept.
      return [...data].map((x, i) => [Math.abs(x - base![i]!) < 1e-12, a![i] !== b![i]]);
    });
    const dropped = parts.filter(([nothing]) => nothing).length / parts.length;
    expect(dropped).toBeGreaterThan(0.15);
    expect(dropped).toBeLessThan(0.35);
  });

  test("with consensus, what goes against the sign of the sum is left out", () => {
    const [plain, consensus] = [false, true].map((c) => make("dare", models(3), { density: 1, consensus: c }));
    expectAll(plain!, ([base, ...tuned]) => {
      const deltas = tuned.map((x) => minus(x, base!));
      return base!.map((x, i) => x + deltas[0]![i]! + deltas[1]![i]!);
    });
    expectAll(consensus!, ([base, ...tuned]) => {
      const merged = elected(
        tuned.map((x) => minus(x, base!)),
        [1, 1],
        false,
      );
      return base!.map((x, i) => x + merged[i]!);
    });
  });
});

describe("verbs along an axis", () => {
  const rules = (mlp: string, params = "src: Llama"): string => `
import { Llama } from "std"
upcycle mine(${params}) -> Llama(F: F / 2) where F % 2 == 0 {
  default = src
  blocks[l].mlp = ${mlp}
}`;
  const made = (mlp: string, params?: string) => make(recipeOf(rules(mlp, params)), [llama]);

  test.each([
    ["slice[F](src.blocks[l].mlp, 3)", [3, 4, 5, 6, 7, 8, 9, 10]],
    ["shard[F -> 2](src.blocks[l].mlp, 1)", [8, 9, 10, 11, 12, 13, 14, 15]],
  ])("%s", (mlp, neurons) => {
    const ignored = `${mlp}\n  ignore src.blocks[l].mlp`;
    const { sources, target } = made(ignored);
    const [before, after] = [sources[0]!, target].map((w) => w.get("blocks[1].mlp.up.w")!);
    expect([...after!]).toEqual(neurons.flatMap((f) => [...before!.subarray(4 * f, 4 * f + 4)]));
    const [wide, narrow] = [sources[0]!, target].map((w) => w.get("blocks[1].mlp.down.w")!);
    expect([...narrow!]).toEqual([0, 1, 2, 3].flatMap((d) => neurons.map((f) => wide![16 * d + f]!)));
  });

  test("permute takes experts in the order of its list", () => {
    const text = `
import { Mixtral } from "std"
upcycle mine(src: Mixtral) -> Mixtral(N: 2, K: 1) {
  default = src
  blocks[l].ffn {
    experts = permute[N](src.blocks[l].ffn.experts, [1, 0])
    pick    = permute[N](src.blocks[l].ffn.pick, [1, 0])
  }
  ignore src.blocks[l].ffn
}`;
    const { sources, target } = make(recipeOf(text), [mixture]);
    for (const [path, size] of [
      ["experts.down.w", 64],
      ["pick.score.w", 4],
    ] as const) {
      const [before, after] = [sources[0]!, target].map((w) => w.get(`blocks[1].ffn.${path}`)!);
      expect([...after!]).toEqual([...before!.subarray(size, 2 * size), ...before!.subarray(0, size)]);
    }
  });

  test("stack makes an axis of its arguments", () => {
    const text = `
import { Llama, Mixtral } from "std"
upcycle mine(src: Llama[M]) -> Mixtral(N: 3, K: 1) {
  default = mean[M](src)
  blocks[l].ffn {
    experts      = stack[N](src[1].blocks[l].mlp, 2 * src[0].blocks[l].mlp, normal(std: 0.1, seed: 1))
    pick.score.w = zeros
  }
  ignore src
}`;
    const { sources, target } = make(recipeOf(text), models(2));
    const [a, b] = sources.map((s) => s.get("blocks[1].mlp.gate.w")!);
    const experts = target.get("blocks[1].ffn.experts.gate.w")!;
    expect([...experts.subarray(0, 128)]).toEqual([...b!, ...a!.map((x) => 2 * x)]);
    expect(new Set(experts.subarray(128)).size).toBe(64);
  });

  test("sums of chosen rows, weighted, in any order, and means", () => {
    const text = `
import { Llama, Mixtral } from "std"
upcycle mine(src: Llama) -> Mixtral(N: 3, K: 1) where V > 6 {
  default = src
  blocks[l].ffn {
    experts[n]   = src.blocks[l].mlp
    pick.score.w = stack[N](
      sum[V](src.embed.w, at: [6, 0, 6], weights: [1.5, -2, 0.25]),
      mean[V](src.embed.w, at: [2, 3]),
      sum[V](shuffle[V](src.embed.w, seed: 1), at: [0])
    )
  }
}`;
    const { sources, target } = make(recipeOf(text), [llama]);
    const rows = matrixOf(sources[0]!, "embed.w", V, D);
    const score = matrixOf(target, "blocks[1].ffn.pick.score.w", 3, D);
    expect(
      worst(
        score[0]!,
        rows[6]!.map((x, i) => 1.75 * x - 2 * rows[0]![i]!),
      ),
    ).toBeLessThan(1e-12);
    expect(
      worst(
        score[1]!,
        rows[2]!.map((x, i) => (x + rows[3]![i]!) / 2),
      ),
    ).toBeLessThan(1e-12);
    expect(rows).toContainEqual(score[2]);
  });
});
