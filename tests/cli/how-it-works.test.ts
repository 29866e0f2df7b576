/** What docs/how-it-works.md shows is what the commands on the page give, line by line; `...` stands for any lines. */
import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, expect, test } from "vitest";
import type { Plan } from "../../compiler/plan/plan.ts";
import { moec, temporary, writeFile } from "./support.ts";

const page = readFileSync("docs/how-it-works.md", "utf8");
const shown = new Map([...page.matchAll(/^```\w+ (\S+)\n([^]*?)^```$/gm)].map(([, name, text]) => [name!, text!]));
const plan = temporary("plan");
let model: string;

beforeAll(async () => {
  model = writeFile("pick.moe", shown.get("pick.moe")!);
  expect(await moec("build", model, "--kind", "gpu", "--out", plan)).toMatchObject({ code: 0 });
});

/** Each run of lines between `...` stands in the text as it is, after those before it. */
function expectIn(text: string, excerpt: string): void {
  let from = 0;
  for (const run of excerpt.split("...\n").filter((x) => x !== "")) {
    const at = text.indexOf(run, from);
    expect(at, `not found:\n${run}`).toBeGreaterThanOrEqual(0);
    from = at + run.length;
  }
}

test.each(["inline", "sparsify"])("the program after %s", async (pass) => {
  const { out } = await moec("build", model, "--kind", "gpu", "--dump", `after:${pass}`);
  expectIn(out, shown.get(pass)!);
});

test("the dispatches of a step", () => {
  const { entries } = JSON.parse(readFileSync(join(plan, "plan.json"), "utf8")) as Plan;
  const rows = shown.get("dispatches")!.split("\n");
  const column = rows[0]!.indexOf("logits.decode");
  for (const [name, cut] of [
    ["logits.prefill", (row: string) => row.slice(0, column)],
    ["logits.decode", (row: string) => row.slice(column)],
  ] as const) {
    const steps = entries.find((e) => e.name === name)!.steps;
    const lines = steps.flatMap((s) =>
      s.kind === "dispatch" ? [s.label] : ["twice:", ...s.steps.map((d) => d.label)],
    );
    expect(rows.map((row) => cut(row).trim()).filter((row) => row !== "")).toEqual([name, ...lines]);
  }
});

test.each([...shown.keys()].filter((name) => name.endsWith(".wgsl")))("the kernel %s", (name) => {
  expectIn(readFileSync(join(plan, name), "utf8"), shown.get(name)!);
});

test("every source that the page names is there", () => {
  const named = [...page.matchAll(/`((?:grammar|compiler|runtime|tests)\/[\w./*-]+)`/g)].map(([, path]) => path!);
  expect(named.length).toBeGreaterThan(8);
  for (const path of named) expect(globSync(path), path).not.toEqual([]);
});
