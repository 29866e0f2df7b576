/** What the README shows as output is what the commands print. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { drawRouting, makeMixture, routeTexts, type Run } from "../scripts/draw-routing.ts";
import { moec } from "./cli/support.ts";

const readme = readFileSync("README.md", "utf8");
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

test("the demo's plan", () => {
  const lines = shown("demo");
  for (const line of lines.slice(0, lines.indexOf("") + 2)) expect(made).toContain(line);
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
