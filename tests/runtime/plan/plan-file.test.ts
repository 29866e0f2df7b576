/** Saving and loading plans, and profiles of them. */
import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { openDevice } from "../../../runtime/dawn/open-device.ts";
import type { Device } from "../../../runtime/gpu/device.ts";
import { foldGrid } from "../../../runtime/gpu/execute.ts";
import { loadPlan } from "../../../runtime/load/load-plan.ts";
import { savePlan } from "../../../runtime/save/save-plan.ts";
import { profileSession } from "../../../runtime/measure/profile.ts";
import { openSession } from "../../../runtime/session/session.ts";
import { LAYERS, source, tinyPlan } from "../../support/tiny-plan.ts";

let device: Device;
let folder: string;
beforeAll(async () => {
  device = await openDevice();
  folder = await mkdtemp(join(tmpdir(), "moec-plan-"));
});
afterAll(async () => {
  device.close();
  await rm(folder, { recursive: true });
});

test("a plan that is saved and loaded is the same, and its kernels are files named after what they compute", async () => {
  const plan = tinyPlan(device.facts);
  const target = join(folder, "tiny");
  await savePlan(plan, target);
  await savePlan(plan, target);
  expect(await loadPlan(target)).toEqual(plan);
  expect(await readdir(target)).toContain("head-head.wgsl");
  expect((await readdir(folder)).filter((name) => name.startsWith("."))).toEqual([]);
});

test("folders that hold something else are left alone, and broken plans are refused by name", async () => {
  await writeFile(join(folder, "notes.txt"), "mine");
  await expect(savePlan(tinyPlan(device.facts), folder)).rejects.toThrow("plan/folder");
  await expect(loadPlan(join(folder, "nothing"))).rejects.toThrow("plan/missing");
  const old = join(folder, "old");
  await savePlan({ ...tinyPlan(device.facts), version: 0 as 2 }, old);
  await expect(loadPlan(old)).rejects.toThrow("plan/version");
});

test("a profile has a row per kernel, sums layers, and counts the work that the plan declares", async ({ skip }) => {
  const session = await openSession({ plan: tinyPlan(device.facts), device, source });
  try {
    if (!device.hasTimestamps) skip();
    const { rows, entry } = await profileSession(session, { tokens: 20, runs: 2 });
    expect(entry).toBe("logits.prefill");
    expect(rows.map((r) => r.label).sort()).toEqual(["head", "layer", "remember", "sum"]);
    const layer = rows.find((r) => r.label === "layer")!;
    expect([layer.dispatches, layer.flops, layer.bytes]).toEqual([LAYERS, LAYERS * 40, LAYERS * 160]);
    expect(layer.origin).toBe("tiny.moe:1:1");
    expect(rows.reduce((n, r) => n + r.share, 0)).toBeCloseTo(1);
    expect(session.lengthOf(0)).toBe(0);
  } finally {
    session.close();
  }
});

test("a grid beyond the limit in x goes on in y and covers everything", () => {
  const narrow = { ...device, facts: { ...device.facts, maxWorkgroups: 10 } } as Device;
  const dispatch = {
    ...(tinyPlan(device.facts).entries[0]!.steps[0] as Parameters<typeof foldGrid>[0]),
    grid: ["T", 1, 2] as const,
  };
  for (const T of [0, 1, 10, 11, 95]) {
    const [x, y, z] = foldGrid(dispatch, { T, Q: 1, S: 1, P: 1 }, narrow);
    expect(x).toBeLessThanOrEqual(10);
    expect(x * y).toBeGreaterThanOrEqual(T);
    expect(x * y).toBeLessThan(T + 10);
    expect(z).toBe(2);
  }
});
