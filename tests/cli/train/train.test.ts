/** `moec train` as a user meets it: a fresh model is taught, what was written can be gone on with and run; what cannot be is told first. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { readHistory } from "../../../runtime/training/record.ts";
import { moec, temporary, writeFile } from "../support.ts";

const ids = Uint16Array.from({ length: 900 }, (_, i) => (i % 61 === 0 ? 0 : 1 + ((i * i + 3 * i) % 60)));
const data = writeFile("ids.bin", new Uint8Array(ids.buffer));
const file = writeFile(
  "tiny.moe",
  'edition 2026\nimport { Mixtral } from "std"\nconfig tiny: Mixtral { V: 64  L: 2  D: 16  F: 24  G: 1  R: 2  C: 8  N: 4  K: 2 }\n',
);

const train = (out: string, ...more: readonly string[]): ReturnType<typeof moec> =>
  moec(
    ...["train", "--data", `ids=${data}`, "--out", out, "--context", "16", "--batch", "4", "--together", "2"],
    ...["--evaluate", "2", "--evaluate-sequences", "4", "--held-out", "100", "--rate", "1e-2", ...more],
  );

describe("a fresh model", () => {
  test("is written, taught, gone on with, and loads as a checkpoint", async () => {
    const out = temporary("run");
    const first = await train(out, "--init", `${file}#tiny`, "--steps", "4", "--json");
    expect(first.err).toContain("step 4/4 perplexity ids");
    expect(first.code).toBe(0);
    const told = JSON.parse(first.out) as { first: Result; final: Result; checkpoint: string; micros: number };
    expect(told.micros).toBe(2);
    // Knowing nothing is as good as guessing among 64.
    expect(told.first.domains[0]!.nll).toBeCloseTo(Math.log(64), 1);
    expect(told.final.domains[0]!.nll).toBeLessThan(told.first.domains[0]!.nll);
    expect(readdirSync(out).sort()).toEqual(["fresh", "metrics.jsonl", "report.html", "step-00000004"]);
    const { steps, loads } = readHistory("metrics", readFileSync(join(out, "metrics.jsonl"), "utf8"));
    expect(steps.map((s) => s.total)).toEqual([64, 128, 192, 256]);
    expect(loads[0]!.layers.map(({ load }) => load.length)).toEqual([4, 4]);
    expect((await moec("inspect", told.checkpoint)).code).toBe(0);
    const again = await train(out, "--init", `${file}#tiny`, "--steps", "4");
    expect(again.code).toBe(1);
    expect(again.err).toContain("checkpoint/target-exists");
    const further = await train(out, "--init", `${file}#tiny`, "--steps", "6", "--resume", "--accept-changed");
    expect(further.code).toBe(0);
    expect(further.out).toContain(`The checkpoint is ${join(out, "step-00000006")}`);
  });

  test("is the same of the same seed, and another of another", async () => {
    const bytes = async (name: string, seed: string): Promise<Buffer> => {
      const out = temporary(name);
      expect((await train(out, "--init", file, "--steps", "1", "--plan", "--seed", seed)).code).toBe(0);
      expect(existsSync(join(out, "metrics.jsonl"))).toBe(false);
      return readFileSync(join(out, "fresh", "model.safetensors"));
    };
    const [one, same, other] = [await bytes("one", "1"), await bytes("same", "1"), await bytes("other", "2")];
    expect(one.equals(same)).toBe(true);
    expect(one.equals(other)).toBe(false);
  });
});

test("a step that is not finite ends the run, with what it was and where to go on; nothing of it is published", async () => {
  const out = temporary("diverged");
  const run = await train(
    out,
    ...["--init", file, "--steps", "6", "--checkpoint", "1", "--rate", "1e19", "--schedule", "1", "--clip", "0"],
  );
  expect(run.code).toBe(1);
  expect(run.err).toMatch(
    /error\[train\/not-finite\]: step \d: the gradient of `.+` is not finite in micro-batch \d of 2/,
  );
  expect(run.err).toMatch(/its sequences are ids: .*ids\.bin, document \d+, id \d+/);
  const [, step] = /step (\d): the gradient/.exec(run.err)!;
  const last = readdirSync(out)
    .filter((name) => name.startsWith("step-"))
    .sort()
    .at(-1)!;
  expect(run.err).toContain(`the last checkpoint before it is ${join(out, last)}`);
  expect(Number(last.slice("step-".length))).toBeLessThan(Number(step));
});

interface Result {
  readonly domains: readonly { readonly nll: number }[];
}

test.each([
  ["nothing to train", ["--steps", "1"], "there is nothing to train"],
  ["two things to train", ["here", "--init", "there.moe"], "are both given"],
  ["a tokenizer beside a checkpoint", ["here", "--tokenizer", "there"], "`--tokenizer` needs `--init`"],
  ["steps and tokens", ["here", "--steps", "1", "--tokens", "9"], "say the same thing"],
  ["a setting that is none", ["here", "--set", "decay"], "a path, a name and a value"],
])("%s: refused", async (_, args, message) => {
  const out = temporary("refused");
  const run = await train(out, ...args);
  expect(run.code).toBe(1);
  expect(run.err).toContain(message);
  expect(existsSync(out)).toBe(false);
});
