/** A plan that was saved by moec 0.1.0 before plans had symbols, phases and kept buffers, as `moec build --kind software` left it. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { openDevice } from "../../../runtime/dawn/open-device.ts";
import { loadModel } from "../../../runtime/load/load-model.ts";
import { loadPlan } from "../../../runtime/load/load-plan.ts";
import { open } from "../../../runtime/open.ts";
import { openSession } from "../../../runtime/session/session.ts";

const FOLDER = "tests/fixtures/plan-version-1";
const MODEL = "tests/fixtures/families/llama";

test("a plan of version 1 loads, and computes what one of today does", async () => {
  expect(JSON.parse(readFileSync(join(FOLDER, "plan.json"), "utf8"))).toMatchObject({ version: 1 });
  const plan = await loadPlan(FOLDER);
  expect(plan.entries.map((e) => [e.name, e.output, e.regime, e.phase])).toEqual([
    ["logits.prefill", "logits", "prefill", "infer"],
    ["logits.decode", "logits", "decode", "infer"],
    ["nll.prefill", "nll", "prefill", "infer"],
  ]);
  const prompts = [
    [3, 14, 15, 9, 2, 6],
    [5, 3],
  ];
  using device = await openDevice();
  using old = await openSession({ plan, device, source: (await loadModel(MODEL)).source, sequences: 2, capacity: 32 });
  using now = await open(MODEL, { sequences: 2, capacity: 32 });
  const [before, after] = [await old.forward(prompts), await now.forward(prompts)];
  before.forEach((logits, i) =>
    logits.forEach((x, at) => expect(Math.abs(x - after[i]![at]!)).toBeLessThanOrEqual(1e-4)),
  );
  const tokens = async (session: typeof old): Promise<readonly number[]> => {
    const all: number[] = [];
    for await (const { token } of session.generate({ prompts, maxTokens: 6 })) all.push(token);
    return all;
  };
  expect(await tokens(old)).toEqual(await tokens(now));
});
