import { existsSync, readdirSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { fillInit } from "../../../compiler/index.ts";
import { openCheckpoint } from "../../../runtime/load/open-checkpoint.ts";
import { loadModel } from "../../../runtime/load/load-model.ts";
import { maxDifference } from "../../support/close.ts";
import { runOracle } from "../../support/oracle.ts";
import { modelOf, outputsOf, programOf } from "../../support/programs.ts";

const mixture = `import { Linear, MoE, RMSNorm } from "std"
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
layer Block(D, N, shared = true) {
  norm  = RMSNorm(D)
  ffn   = MoE(D, 6, N, Own(K: 2))
  extra = Linear(D -> D, bias: true) if shared
  forward(x: [T, D]) -> [T, D] {
    if shared { return x + ffn(norm(x)) + extra(x) }
    return x + ffn(norm(x))
  }
}
model Small(D, L, N, shared = true) {
  blocks = L of Block(D, N, shared: shared)
  forward(x: [T, D]) -> [T, D] {
    for b in blocks { x = b(x) }
    return x
  }
}
`;

describe("parameters", () => {
  test("are listed layer by layer, banks in front, conditional members where they exist", () => {
    const list = (fields: string) =>
      modelOf(`${mixture}config c: Small { ${fields} }\n`).parameters.map(
        ({ path, axes }) => `${path} [${axes.map((a) => a.size).join(", ")}]`,
      );
    const block = (i: number) => [
      `blocks[${i}].norm.w [4]`,
      `blocks[${i}].ffn.pick.score.w [3, 4]`,
      `blocks[${i}].ffn.experts.gate.w [3, 6, 4]`,
      `blocks[${i}].ffn.experts.up.w [3, 6, 4]`,
      `blocks[${i}].ffn.experts.down.w [3, 4, 6]`,
    ];
    const extra = (i: number) => [`blocks[${i}].extra.w [4, 4]`, `blocks[${i}].extra.b [4]`];
    expect(list("D: 4  L: 2  N: 3")).toEqual([...block(0), ...extra(0), ...block(1), ...extra(1)]);
    expect(list("D: 4  L: 1  N: 3  shared: false")).toEqual(block(0));
  });

  test("losses and metrics of every layer are outputs, under the layer's path", () => {
    expect(outputsOf(programOf(`${mixture}config c: Small { D: 4  L: 2  N: 3 }\n`))).toEqual([
      "result logits f32[T=T D=4]",
      "loss blocks[0].loss0 f32[]",
      "metric blocks[0].expert_load f32[N=3]",
      "loss blocks[1].loss0 f32[]",
      "metric blocks[1].expert_load f32[N=3]",
    ]);
  });
});

describe("fresh values", () => {
  const fill = (path: string, start: number, length: number, seed: number | null = 1) => {
    const out = new Float64Array(length);
    fillInit({ kind: "normal", std: 2, seed }, path, start, out);
    return out;
  };

  test("depend on seed and path, not on the order or the size of the pieces", () => {
    const whole = fill("a.w", 0, 5000);
    const pieces = [0, 1, 1000, 1023, 1024, 1025, 4999].map((at, i, all) => fill("a.w", at, (all[i + 1] ?? 5000) - at));
    expect(Float64Array.from(pieces.flatMap((p) => [...p]))).toEqual(whole);
    expect(fill("b.w", 0, 8)).not.toEqual(whole.slice(0, 8));
    expect(fill("a.w", 0, 8, 2)).not.toEqual(whole.slice(0, 8));
  });

  test("have the mean and the spread that was asked for", () => {
    const values = fill("a.w", 0, 40000);
    const mean = values.reduce((a, b) => a + b, 0) / values.length;
    const variance = values.reduce((a, b) => a + (b - mean) ** 2, 0) / values.length;
    expect(Math.abs(mean)).toBeLessThan(0.05);
    expect(Math.abs(Math.sqrt(variance) - 2)).toBeLessThan(0.05);
  });
});

describe("golden logits through the oracle", () => {
  const root = "tests/fixtures/families";
  test.each(readdirSync(root).filter((name) => existsSync(`${root}/${name}/golden.safetensors`)))(
    "%s",
    async (name) => {
      const loaded = await loadModel(`${root}/${name}`);
      const golden = await openCheckpoint(`${root}/${name}/golden.safetensors`);
      try {
        const ids = [...(await golden.toFloat32("ids.0"))];
        const expected = await golden.toFloat32("logits.0");
        expect(maxDifference(Float32Array.from(await runOracle(loaded, ids)), expected)).toBeLessThan(1e-4);
      } finally {
        await golden.close();
        await loaded.checkpoint.close();
      }
    },
  );
});
