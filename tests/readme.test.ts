/** What the README shows as output is what the commands print. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { drawRouting, makeMixture, routeTexts, type Run } from "../scripts/draw-routing.ts";
import { moec } from "./cli/support.ts";

const readme = readFileSync("README.md", "utf8");
/** Lines of a block; those that it leaves out are `...`. */
const shown = (name: string): readonly string[] =>
  new RegExp(`^\`\`\`text ${name}\\n([^]*?)\`\`\`$`, "m").exec(readme)![1]!.trimEnd().split("\n");

const folder = mkdtempSync(join(tmpdir(), "moec-readme-"));
const mixture = join(folder, "mixture");
const run: Run = async (...args) => (await moec(...args)).out;
let made = "";
beforeAll(async () => {
  made = await makeMixture(run, mixture);
});
afterAll(() => rmSync(folder, { recursive: true }));

/** Perplexity on the first sequences of the text about arithmetic. */
const math = async (model: string, sequences: number): Promise<number> => {
  const args = ["eval", model, "--tokens", "examples/text/math.bin", "--limit", String(sequences), "--json"];
  return (JSON.parse(await run(...args)) as { files: [{ perplexity: number }] }).files[0].perplexity;
};

test("the demo's plan, and what it measures of the mixture", async () => {
  const lines = shown("demo");
  for (const line of lines.slice(0, lines.indexOf("") + 2)) expect(made).toContain(line);
  const [, , , , written] = lines.find((line) => line.startsWith("mixture  "))!.split(/ +/);
  expect((await math(mixture, 64)).toFixed(2)).toBe(written);
});

test("the perplexities are the reference's, and moec's", async () => {
  const reference = JSON.parse(readFileSync("tests/fixtures/mix/btx/perplexity.json", "utf8")) as Readonly<
    Record<string, Readonly<Record<string, number>>>
  >;
  const written = (row: string): readonly string[] =>
    new RegExp(`^\\| ${row} +((?:\\| +[\\d.]+ )+)\\|$`, "m").exec(readme)![1]!.match(/[\d.]+/g)!;
  const rows = {
    seed: "llama-seed",
    "Branch-Train-MiX, untrained router": "btx-mixtral-random-router",
    "Branch-Attend-Mix, keys and values per expert, untrained routers": "bam-kv-experts-random-router",
    "Branch-Attend-Mix, shared keys and values, untrained routers": "bam-kv-shared-random-router",
  };
  for (const [row, name] of Object.entries(rows))
    expect(written(row), row).toEqual(["prose", "code", "law", "math"].map((d) => reference[name]![d]!.toFixed(2)));
  // With the reference's routers, and in float32 as it is computed there; logits of the others are held in `upcycle/bam.test.ts`.
  const btx = join(folder, "btx");
  const routers = "blocks[l].ffn.pick.score.w=tests/fixtures/mix/btx/golden.safetensors#router";
  await makeMixture(run, btx, "--dtype", "f32", "--set", routers);
  expect((await math(btx, 64)).toFixed(2)).toBe(written("Branch-Train-MiX, untrained router")[3]);
});

test("a profile of the mixture has the kernels that are shown, with their dispatches and where they come from", async () => {
  const untimed = (line: string): readonly (string | undefined)[] => {
    const cells = line.split(/ {2,}/);
    return [cells[0], cells[1], cells.at(-1)];
  };
  const [first, , ...rows] = shown("profile");
  const report = (await moec("profile", mixture, "--tokens", "1")).out.split("\n");
  expect(report.find((line) => line.startsWith("prompt of 256 tokens"))).toContain(first!.replace(/.* ms /, ""));
  for (const row of rows) expect(report.map(untimed)).toContainEqual(untimed(row));
});

test("what npm test is said to print is what it does", () => {
  const [, , line] = shown("npm test");
  const [, path, count] = / ✓ (\S+) \((\d+) tests\)/.exec(line!)!;
  expect(readFileSync(path!, "utf8").match(/^test\(/gm)).toHaveLength(Number(count));
  expect(readFileSync("tests/support/skip-reporter.ts", "utf8")).toContain(`"${shown("npm test").at(-1)!}"`);
});

test("where a parameter comes from", async () => {
  expect((await moec("why", mixture, "blocks[1].ffn.experts[2].up.w")).out.trimEnd().split("\n")).toEqual(shown("why"));
});

test("where the first tokens of a Python file go", async () => {
  const text = join(folder, "a.py");
  writeFileSync(text, "def read_file(path):\n    return open(path).read()\n");
  const [, ...lines] = (await moec("route", mixture, "--text", text, "--context", "16")).out.split("\n");
  expect(lines.slice(0, shown("route").length)).toEqual(shown("route"));
});

test("the picture is drawn from what the command says", async () => {
  const texts = await routeTexts(run, mixture, folder);
  expect(readFileSync("docs/routing.svg", "utf8")).toBe(drawRouting(texts));
});
