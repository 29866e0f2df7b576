/** `moec inspect`, held to counts that can be done by hand. */
import { expect, test } from "vitest";
import { moec } from "./support.ts";

interface Part {
  readonly path: string;
  readonly cost: Readonly<Record<"parameters" | "active" | "bytes" | "flops" | "attention" | "cache", number>>;
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
  expect(cost("blocks[#].mlp.gate").flops).toBeGreaterThanOrEqual(4 * 2 * 128 * 384);
  expect(cost("").cache).toBe(4 * 2 * (64 + 64) * 2);
  expect(cost("").attention).toBe(4 * 4 * 256 * 2 * (32 + 32));
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

test("looking an embedding up is not counted as operations", async () => {
  const cost = await inspect("examples/03-model.moe");
  expect(cost("embed").flops).toBe(0);
  expect(cost("head").flops).toBe(2 * 2048 * 128);
});

test("a window bounds attention's work", async () => {
  const near = await inspect("tests/fixtures/families/mistral", "--context", "12");
  const far = await inspect("tests/fixtures/families/mistral", "--context", "1024");
  expect(far("").attention).toBe(near("").attention);
});

test("the tree folds layers and can be cut", async () => {
  const run = await moec("inspect", "tests/fixtures/families/mixtral", "--depth", "1");
  expect(run.code).toBe(0);
  expect(run.out).toMatchSnapshot();
});
