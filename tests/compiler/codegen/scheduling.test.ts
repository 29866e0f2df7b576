/**
 * What scheduling costs, counted and not timed, and that no kernel binds more storage buffers than there are: every family and its
 * gradient, and every layer's gradient, at the limits that devices have.
 */
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import type { ScheduleWork } from "../../../compiler/codegen/schedule/scheduling.ts";
import { addObjective, buildProgram, differentiateProgram, newContext } from "../../../compiler/index.ts";
import { compileProgram } from "../../../compiler/pipeline.ts";
import type { Program } from "../../../compiler/graph/node.ts";
import { type DeviceKind, promisedFacts } from "../../../compiler/plan/facts.ts";
import type { EntryRegime } from "../../../compiler/plan/plan.ts";
import { loadModel } from "../../../runtime/load/load-model.ts";

const root = join(import.meta.dirname, "..", "..", "fixtures", "families");
const families = readdirSync(root).filter((name) => existsSync(join(root, name, "config.json")));

/** Most schedules and walks of one function: a few rounds of cuts, and a walk for each question that a cut asks. */
const limits = [
  { buffers: 8, inference: { schedules: 4, walks: 600 }, gradient: { schedules: 10, walks: 4000 } },
  { buffers: 10, inference: { schedules: 4, walks: 400 }, gradient: { schedules: 8, walks: 3000 } },
  { buffers: 16, inference: { schedules: 2, walks: 200 }, gradient: { schedules: 5, walks: 2500 } },
];

function measure(program: Program, output: string, computes: readonly string[], regimes: readonly EntryRegime[]) {
  return (kind: DeviceKind, buffers: number): ScheduleWork => {
    let most: ScheduleWork = { schedules: 0, walks: 0 };
    compileProgram(program, {
      model: "model",
      device: { ...promisedFacts(kind), maxStorageBuffers: buffers },
      storage: () => "f32",
      // Says which kernel is too wide.
      verify: true,
      entries: [{ output, computes, regimes }],
      scheduled: (work) => {
        most = {
          schedules: Math.max(most.schedules, work.schedules),
          walks: Math.max(most.walks, work.walks),
        };
      },
    });
    return most;
  };
}

describe.each(families)("%s is scheduled within its budget, as it runs and as it is trained", async (name) => {
  const loaded = await loadModel(join(root, name));
  await loaded.checkpoint.close();
  const ctx = newContext();
  const program = buildProgram(loaded.model.instance, ctx);
  const gradient = differentiateProgram(addObjective(program, ctx.builder)!, "loss", ctx.builder);
  const inference = measure(program, "logits", ["logits"], ["prefill", "decode"]);
  const outputs = gradient.main.outputs.map((o) => o.name);
  const backward = measure(gradient, "loss", outputs, ["whole"]);
  test.each(limits)("$buffers storage buffers", ({ buffers, inference: forward, gradient: back }) => {
    for (const kind of ["software", "gpu"] as const) {
      const [ran, trained] = [inference(kind, buffers), backward(kind, buffers)];
      expect(ran.schedules).toBeLessThanOrEqual(forward.schedules);
      expect(ran.walks).toBeLessThanOrEqual(forward.walks);
      expect(trained.schedules).toBeLessThanOrEqual(back.schedules);
      expect(trained.walks).toBeLessThanOrEqual(back.walks);
    }
  });
});
