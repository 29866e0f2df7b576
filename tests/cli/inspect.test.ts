/** `moec inspect`, held to counts that can be done by hand. */
import { cpSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { moec, temporary, writeFile } from "./support.ts";

interface Part {
  readonly path: string;
  readonly cost: Readonly<
    Record<
      "parameters" | "active" | "bytes" | "flops" | "products" | "attention" | "meanAttention" | "cache" | "kept",
      number
    >
  >;
  readonly parts: readonly Part[];
}

async function inspect(...args: readonly string[]): Promise<(path: string) => Part["cost"]> {
  const run = await moec("inspect", "--json", ...args);
  expect(run.code).toBe(0);
  const { tree } = JSON.parse(run.out) as { tree: Part };
  const all = (part: Part): Part[] => [part, ...part.parts.flatMap(all)];
  return (path) => all(tree).find((p) => p.path === path)!.cost;
}

test("a dense checkpoint: every parameter is active, and stored as its file says", async () => {
  const cost = await inspect("examples/checkpoints/seed", "--context", "256");
  // Vocabulary 2048, hidden 128, 4 layers, 4 heads over 2 of 32 channels, feed-forward 384.
  const layer = 128 * (128 + 64 + 64) + 128 * 128 + 3 * 128 * 384 + 2 * 128;
  const total = 2 * 2048 * 128 + 4 * layer + 128;
  expect(cost("")).toMatchObject({ parameters: total, active: total, bytes: 2 * total });
  expect(cost("blocks[#].mlp.gate").products).toBe(4 * 2 * 128 * 384);
  expect(cost("blocks[#].mlp.gate").flops).toBeGreaterThanOrEqual(4 * 2 * 128 * 384);
  expect(cost("").cache).toBe(4 * 2 * (64 + 64) * 2);
  expect(cost("").kept).toBe(256 * cost("").cache);
  expect(cost("").attention).toBe(4 * 4 * 256 * 2 * (32 + 32));
  expect(cost("").meanAttention).toBe(cost("").attention / 2);
});

test("a model that looks at later tokens has no cache, and each token's attention sees all of the sequence", async () => {
  const model = (causal: boolean): string =>
    writeFile(
      "encoder.moe",
      `edition 2026

import { Linear } from "std"

model Mixed(D, C) {
  q = Linear(D -> C)
  k = Linear(D -> C)
  forward(x: [T, D]) -> [T, D] = delay(attend[C](q(x), k(x), x, causal: ${causal}), 1)
}

config c: Mixed { D: 4  C: 2 }
`,
    );
  const reads = await inspect(model(true), "--context", "64");
  expect(reads("")).toMatchObject({ cache: 4 * (2 + 4), kept: 64 * 4 * (2 + 4) + 4 * 4 });
  const looks = await inspect(model(false), "--context", "64");
  expect(looks("")).toMatchObject({ cache: 0, kept: 0, flops: reads("").flops, attention: reads("").attention });
  expect(looks("").meanAttention).toBe(looks("").attention);
  expect((await moec("inspect", model(false))).out).toContain("No cache: nothing is kept of a sequence between steps");
});

test("of a mixture, the chosen experts are active and counted", async () => {
  const cost = await inspect("tests/fixtures/families/mixtral");
  // Hidden 48, feed-forward 48, six experts of which two are chosen, two layers.
  const matrix = cost("blocks[#].ffn.experts.up").parameters;
  expect(cost("blocks[#].ffn.experts.up").active).toBe(matrix / 3);
  expect(cost("blocks[#].ffn.pick").active).toBe(cost("blocks[#].ffn.pick").parameters);
  // A contraction costs two operations per weight that it uses.
  expect(cost("blocks[#].ffn.experts.up").flops).toBe((2 * matrix) / 3);
  expect(cost("").parameters - cost("").active).toBe(cost("blocks[#].ffn.experts").parameters * (2 / 3));
});

describe("of blocks that choose their tokens", () => {
  const text = (model: string, more: string): string =>
    `edition 2026
import { ${model} } from "std"

config c: ${model} { V: 7  L: 2  D: 4  F: 6  G: 1  R: 2  C: 2  ${more} }
`;

  test("what the chosen ones meet is active to their share; what is computed for all, queries, keys and values, is active", async () => {
    const cost = await inspect(writeFile("depths.moe", text("DepthsLlama", "share: 0.25")), "--context", "64");
    const [all, chosen] = [
      (path: string) => cost(`blocks[#].${path}`),
      (path: string) => cost(`blocks[#1].inside.${path}`),
    ];
    for (const path of ["attn.o", "norm2", "mlp.gate", "mlp.up", "mlp.down"]) {
      expect(chosen(path).active, path).toBe(chosen(path).parameters / 4);
      expect(chosen(path).flops, path).toBe(all(path).flops / 4);
    }
    for (const path of ["attn.q", "attn.k", "attn.v", "norm1"])
      expect(chosen(path)).toMatchObject({ active: all(path).parameters, flops: all(path).flops });
    expect(cost("blocks[#1].score").active).toBe(5);
    // Of a short sequence at least one token is chosen.
    const short = await inspect(writeFile("depths.moe", text("DepthsLlama", "share: 0.25")), "--context", "2");
    expect(short("blocks[#1].inside.mlp").active).toBe(72 / 2);
  });

  test("experts within them are active to the product of both shares", async () => {
    const path = writeFile("staged.moe", text("SparseDepthsLlama", "share: 0.25  N: 4  K: 2"));
    const cost = await inspect(path, "--context", "64");
    const experts = cost("blocks[#1].inside.ffn.experts");
    expect(experts.active).toBe((experts.parameters * 2) / 4 / 4);
    expect(cost("blocks[#].ffn.experts").active).toBe(experts.parameters / 2);
    expect(experts.products).toBe(cost("blocks[#].ffn.experts").products / 4);
  });

  test("experts that choose their tokens are active to their capacity", async () => {
    const path = writeFile("choice.moe", text("SparseLlama", "N: 8  K: 2  capacity: 2.0"));
    const cost = await inspect(path, "--context", "64");
    const experts = cost("blocks[#].ffn.experts");
    expect(experts.active).toBe((experts.parameters * 2) / 8);
    expect(experts.products).toBe(2 * experts.active);
  });
});

test("published models have the sizes that they are known by", async () => {
  const text = `edition 2026
import { Llama, Mixtral } from "std"

config seven_b: Llama { V: 32000  L: 32  D: 4096  F: 11008  G: 32  R: 1  C: 128 }
config eight_by_seven_b: Mixtral { V: 32000  L: 32  D: 4096  F: 14336  G: 8  R: 4  C: 128  N: 8  K: 2 }
`;
  const path = writeFile("published.moe", text);
  const dense = await inspect(path, "--config", "seven_b");
  expect(dense("")).toMatchObject({ parameters: 6_738_415_616, active: 6_738_415_616 });
  const mixture = await inspect(path, "--config", "eight_by_seven_b");
  expect(mixture("")).toMatchObject({ parameters: 46_702_792_704, active: 12_879_925_248 });
});

test("looking an embedding up is not counted as operations", async () => {
  const cost = await inspect("examples/03-model.moe");
  expect(cost("embed").flops).toBe(0);
  expect(cost("head").flops).toBe(2 * 2048 * 128);
});

test("a window bounds attention's work", async () => {
  const near = await inspect("tests/fixtures/families/mistral", "--context", "12");
  const far = await inspect("tests/fixtures/families/mistral", "--context", "1024");
  expect(far("").attention).toBe(near("").attention);
  expect(far("").meanAttention).toBeGreaterThan(0.95 * far("").attention);
});

describe("--map", () => {
  const family = readFileSync("stdlib/families/llama.moe", "utf8");
  const map = `edition 2026\nimport { Llama, rope_scaling } from "std"\n\n${family.slice(family.indexOf("map llama"))}`;
  const folder = temporary("own");

  beforeAll(() => {
    cpSync("tests/fixtures/families/llama", folder, { recursive: true });
    const config = readFileSync(join(folder, "config.json"), "utf8");
    writeFileSync(join(folder, "config.json"), config.replace('"model_type": "llama"', '"model_type": "own"'));
  });

  test("a family that the library does not know is read through a map of one's own", async () => {
    const path = writeFile("own.moe", map.replace('"llama"  ', '"own"  '));
    const own = await inspect(folder, "--map", path);
    const known = await inspect("tests/fixtures/families/llama");
    expect(own("")).toEqual(known(""));
  });

  test("without it, the message names the families that are known", async () => {
    const run = await moec("inspect", folder);
    expect(run).toMatchObject({ code: 1, out: "" });
    expect(run.err).toContain("error[map/unknown-family]");
    expect(run.err).toMatch(/known types: .*llama/);
  });

  test("a file without maps is refused", async () => {
    const run = await moec("inspect", folder, "--map", "examples/01-mlp.moe");
    expect(run).toMatchObject({ code: 1, out: "" });
    expect(run.err).toContain("declares no map");
  });
});

describe("whether results look at later tokens, and through what", () => {
  const modelWith = (router: string): string => `edition 2026
import { Embedding, ExpertChoice, Linear, MoE, Sinkhorn, TopK } from "std"

model Tower(V, L, D, F, N) {
  embed  = Embedding(V -> D)
  blocks = L of MoE(D, F, N, ${router})
  head   = Linear(D -> V)
  forward(ids: u32[T]) -> f32[T, V] {
    x = embed(ids)
    for b in blocks { x = x + b(x) }
    return f32(head(x))
  }
}

config small: Tower { V: 10  L: 2  D: 4  F: 4  N: 2 }
`;

  test("none", async () => {
    const { out } = await moec("inspect", writeFile("top.moe", modelWith("TopK(K: 1)")));
    expect(out).toMatch(/^logits looks at no later token$/m);
  });

  test("always, with the expression, its router and its place", async () => {
    const { out } = await moec("inspect", writeFile("choice.moe", modelWith("ExpertChoice(Z: 2)")));
    expect(out).toMatch(
      /^logits looks at later tokens, through `topk\[T -> \w+\]\(.*\)` in the router ExpertChoice \(std\/routers\/expert-choice\.moe:\d+:\d+\)$/m,
    );
  });

  test("for one purpose alone", async () => {
    const path = writeFile("plan.moe", modelWith("Sinkhorn(K: 1)"));
    const { out } = await moec("inspect", path);
    expect(out).toMatch(/^logits looks at no later token in evaluation and generation$/m);
    expect(out).toMatch(/^logits looks at later tokens in training, through `planned\[N\].*` in the router Sinkhorn/m);
    const { outputs } = JSON.parse((await moec("inspect", path, "--json")).out) as {
      outputs: { output: string; role: string; purpose: string; looksAhead: { layer: string }[] }[];
    };
    expect(outputs.find((o) => o.output === "logits" && o.purpose === "train")?.looksAhead).toMatchObject([
      { layer: "router Sinkhorn" },
    ]);
    // A sum over tokens is added up step by step.
    expect(outputs.find((o) => o.output === "blocks[#].expert_load" && o.purpose === "generate")?.looksAhead).toEqual(
      [],
    );
  });
});

test("the tree folds layers and can be cut", async () => {
  const run = await moec("inspect", "tests/fixtures/families/mixtral", "--depth", "1");
  expect(run.code).toBe(0);
  expect(run.out).toMatchSnapshot();
});
