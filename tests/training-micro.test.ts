import { afterAll, beforeAll, expect, test } from "vitest";
import { compileProgram } from "../compiler/pipeline.ts";
import { makeTrainingProgram, microEntry, SHARES } from "../compiler/training/compile.ts";
import { loadModel } from "../runtime/load/load-model.ts";
import { openDevice } from "../runtime/dawn/open-device.ts";
import type { Device } from "../runtime/gpu/device.ts";

let device: Device;
beforeAll(async () => { device = await openDevice(); });
afterAll(() => device.close());
test.each(["llama","mixtral","deepseek_v3"])("%s", async (name) => {
  const loaded = await loadModel(`tests/fixtures/families/${name}`);
  const t = makeTrainingProgram(loaded.model, () => true)!;
  const plan = compileProgram(t.program, { model: "x", device: device.facts, storage: () => "f32", entries: [microEntry(t)], scalars: SHARES, verify: true });
  const e = plan.entries[0]!;
  console.log(name, e.steps.length, e.steps.map((s) => s.kind === "repeat" ? `${s.indices.join()}x${s.steps.length}` : s.label).join("\n"));
  console.log(plan.buffers.filter(b=>b.role==="kept").map(b=>b.id+" "+JSON.stringify(b.elements)).join("\n"));
  await loaded.checkpoint.close();
});
