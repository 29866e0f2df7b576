/**
 * The accounting of Branch-Attend-Mix (arXiv 2408.08274, tables 7 and 9), as `moec inspect` tells it of `examples/06-accounting.moe`.
 * Two of the paper's figures are put right: it counts one of two routers as active, and of shared keys and values none; a feed-forward's
 * products are 3 · 2 · d · d_ff / 2, without 1.5 d_ff more that the table has and the formula has not.
 */
import { describe, expect, test } from "vitest";
import { moec } from "./support.ts";

interface Part {
  readonly path: string;
  readonly kind: string;
  readonly cost: Readonly<Record<"parameters" | "active" | "products" | "meanAttention" | "cache", number>>;
  readonly parts: readonly Part[];
}

const [layers, d, context] = [6, 1024, 256];

interface Figures {
  readonly total: number;
  readonly active: number;
  /** Floating-point operations per token and layer: products and the masks, a token's mean view of the context. */
  readonly attention: number;
  readonly feedForward: number;
  /** Products of a layer's routers. */
  readonly routers: number;
  /** Copies of keys and values. */
  readonly caches: number;
}

const expected: Readonly<Record<string, Figures>> = {
  dense: figures(587_209_728, 587_209_728, 8_912_896, 12_582_912, 0, 1),
  btx_4: figures(700_480_512, 587_234_304, 8_912_896, 12_582_912, 4, 1),
  btx_6: figures(775_990_272, 662_744_064, 8_912_896, 37_748_736, 6, 1),
  bam_experts: figures(776_002_560, 662_756_352, 35_651_584, 12_582_912, 8, 4),
  bam_shared: figures(738_253_824, 625_007_616, 23_068_672, 12_582_912, 8, 1),
};

describe.each(Object.entries(expected))("%s", (config, figures) => {
  test("parameters, operations and cache are the paper's", async () => {
    const run = await moec(
      "inspect",
      "examples/06-accounting.moe",
      "--config",
      config,
      "--context",
      `${context}`,
      "--json",
    );
    expect(run.code).toBe(0);
    const { tree } = JSON.parse(run.out) as { tree: Part };
    expect(tree.cost).toMatchObject({ parameters: figures.total, active: figures.active });
    const parts = allParts(tree);
    /** Products of a layer's linear maps under a path, which ends where routers and parts without parameters begin. */
    const products = (path: RegExp): number =>
      parts.filter((p) => p.kind === "layer" && path.test(p.path)).reduce((n, p) => n + p.cost.products, 0) / layers;
    const attention = products(/\.attn\.(shared_)?[qkvo]$/) + tree.cost.meanAttention / layers;
    expect(attention).toBe(figures.attention);
    expect(products(/\.(feed|ffn)(\.experts)?\.(gate|up|down)$/)).toBe(figures.feedForward);
    expect(products(/\.pick\.score$/)).toBe(figures.routers);
    expect(tree.cost.cache).toBe(figures.caches * layers * 2 * d * 4);
  });
});

/** `routed`: how many experts all routers of a layer choose from together. */
function figures(
  total: number,
  active: number,
  attention: number,
  feedForward: number,
  routed: number,
  caches: number,
): Figures {
  return { total, active, attention, feedForward, routers: 2 * routed * d, caches };
}

function allParts(part: Part): readonly Part[] {
  return [part, ...part.parts.flatMap(allParts)];
}
