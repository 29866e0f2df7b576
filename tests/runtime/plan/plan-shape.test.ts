/** Plans that are handed in: what plan.json says is looked at before a runtime does it. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { loadPlan } from "../../../runtime/load/load-plan.ts";
import { savePlan } from "../../../runtime/save/save-plan.ts";
import { softwareFacts } from "../../support/facts.ts";
import { tinyPlan } from "../../support/tiny-plan.ts";

type Json = Record<string | number, unknown>;

const folder = mkdtempSync(join(tmpdir(), "moec-plan-"));
const file = join(folder, "tiny", "plan.json");
let saved: string;
beforeAll(async () => {
  await savePlan(tinyPlan(softwareFacts), join(folder, "tiny"));
  saved = readFileSync(file, "utf8");
});
afterAll(() => rmSync(folder, { recursive: true }));

const deep = (levels: number): unknown => (levels === 0 ? 1 : ["+", deep(levels - 1), 1]);

/** A place in plan.json, what is written there, and what the message names. */
const wrong: readonly (readonly [path: readonly (string | number)[], value: unknown, named: string])[] = [
  [["parameters", 0, "axes", 0, "size"], -1, "`parameters[0].axes[0].size`"],
  [["parameters", 0, "axes", 0, "size"], "12", "`parameters[0].axes[0].size`"],
  [["parameters", 0, "storage"], "f64", "`parameters[0].storage`"],
  [["parameters", 0, "layout"], { kind: "tiles" }, "`parameters[0].layout.kind`"],
  [["parameters", 0, "parts", 0, "bytes"], 1e300, "`parameters[0].parts[0].bytes`"],
  [["buffers", 0, "elements"], "N", "`buffers[0].elements`"],
  [["symbols", 1], "N", "`symbols[1]` of"],
  [["symbols", 1], "toString", "a size that a step knows: T, Q, S, P"],
  [["entries", 0, "steps", 0, "flops"], ["*", "N", 2], "`entries[0].steps[0].flops`"],
  [["buffers", 0, "kept"], undefined, "`buffers[0].kept`"],
  [["buffers", 0, "elements"], deep(100), "`buffers[0].elements`"],
  [["buffers", 0, "elements"], 0.5, "`buffers[0].elements`"],
  [["tables", 0, "expr"], ["constructor", "P"], "`tables[0].expr`"],
  [["tables", 0, "expr"], { a: 1 }, "`tables[0].expr`"],
  [["modules", 0, "workgroup"], [4, 1], "`modules[0].workgroup`"],
  [["modules"], { 0: {} }, "`modules`"],
  [["entries", 0, "steps", 0, "grid"], [1, 1, null], "`entries[0].steps[0].grid`"],
  [["entries", 0, "steps", 0, "kind"], "__proto__", "`entries[0].steps[0].kind`"],
  [["entries", 0, "steps", 0, "constants"], { a: "1" }, "`entries[0].steps[0].constants.a`"],
  [["device", "maxStorageBuffers"], false, "`device.maxStorageBuffers`"],
  [["stepTokens"], 0, "`stepTokens`"],
  // In its kind, and not together.
  [["entries", 0, "steps", 0, "module"], "none", "there is no module none"],
  [["entries", 0, "outputs", 0], "nothing", "output nothing is never written"],
  [["buffers", 1, "id"], "ids", "buffer ids is listed twice"],
  [["symbols"], ["T", "Q", "S"], "quarter has a size in P, which the plan does not declare"],
  [["buffers", 0, "role"], "kept", "buffer ids has the role kept, and nothing kept"],
];

test.each(wrong)("what a plan cannot have is refused where it stands: %j = %j", async (path, value, named) => {
  const json = JSON.parse(saved) as Json;
  const holder = path.slice(0, -1).reduce<Json>((inside, key) => inside[key] as Json, json);
  holder[path.at(-1)!] = value;
  writeFileSync(file, JSON.stringify(json));
  const error = await loadPlan(join(folder, "tiny")).catch((e: unknown) => e);
  expect(error).toMatchObject({ name: "MoeError", diagnostics: [{ code: "plan/unreadable" }] });
  const [{ message, notes }] = (error as { diagnostics: [{ message: string; notes: string[] }] }).diagnostics;
  expect(message).toContain("plan.json");
  expect([message, ...notes].join("\n")).toContain(named);
});

test.each([
  ["null", "plan/version"],
  ["[]", "plan/version"],
  ['{"format": "moec-plan", "version": [1]}', "plan/version"],
  ["{", "plan/unreadable"],
])("and so is a file that is no plan: %s", async (text, code) => {
  writeFileSync(file, text);
  await expect(loadPlan(join(folder, "tiny"))).rejects.toThrow(code);
});

test("nesting without end is refused wherever it stands", async () => {
  const deep = "[".repeat(60_000) + "]".repeat(60_000);
  for (const [key, code] of [
    ["version", "plan/version"],
    ["model", "plan/unreadable"],
    ["buffers", "plan/unreadable"],
  ] as const) {
    writeFileSync(
      file,
      saved.replace(
        new RegExp(`"${key}": ("[^"]*"|\\d+)?`),
        (_, value) => `"${key}": ${deep}${value === undefined ? ', "x": ' : ""}`,
      ),
    );
    await expect(loadPlan(join(folder, "tiny"))).rejects.toThrow(code);
  }
});

test("a kernel's file whose name no file can have is refused, too", async () => {
  writeFileSync(file, saved.replace(/"file": "[^"]*"/, '"file": "a\\u0000b"'));
  await expect(loadPlan(join(folder, "tiny"))).rejects.toThrow("file/failed");
});
