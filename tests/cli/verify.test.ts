/** `moec upcycle --verify`: the models are run, and what is said of them is what `moec eval` says. */
import { expect, test } from "vitest";
import { moec, temporary } from "./support.ts";

interface Verified {
  readonly verified: {
    readonly tokens: number;
    readonly models: readonly {
      readonly name: string;
      readonly perplexity: number;
      readonly difference: { readonly largest: number; readonly mean: number } | null;
    }[];
  };
}

test("an upcycling that keeps the function has its source's logits and perplexity", async () => {
  const [seed, text, out] = ["examples/checkpoints/seed", "examples/text/prose.txt", temporary("verified")];
  const args = ["--from", seed, "--param", "N=2", "--out", out, "--verify", text, "--json"];
  const run = await moec("upcycle", "sparse", ...args);
  expect(run.code).toBe(0);
  const { verified } = JSON.parse(run.out) as Verified;
  const [made, source] = verified.models;
  expect([verified.tokens, made!.name, source!.name]).toEqual([8 * 128, out, seed]);
  expect(made!.difference).toBeNull();
  expect(source!.difference!.largest).toBeLessThan(1e-3);
  expect(source!.difference!.largest).toBeGreaterThanOrEqual(source!.difference!.mean);
  const measured = await moec("eval", seed, "--text", text, "--context", "128", "--limit", "8", "--json");
  const { files } = JSON.parse(measured.out) as { files: { perplexity: number }[] };
  expect(source!.perplexity).toBeCloseTo(files[0]!.perplexity, 3);
  expect(made!.perplexity).toBeCloseTo(files[0]!.perplexity, 3);
});
