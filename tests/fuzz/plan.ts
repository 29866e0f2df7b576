/** plan.json of a saved plan, small and written by hand: loaded, and then consistent. */
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { verifyPlan } from "../../compiler/plan/verify.ts";
import { evaluateSize } from "../../compiler/plan/plan.ts";
import { loadPlan } from "../../runtime/load/load-plan.ts";
import { savePlan } from "../../runtime/save/save-plan.ts";
import { tinyPlan } from "../support/tiny-plan.ts";
import { softwareFacts } from "../support/facts.ts";
import { type Bench, Nonsense } from "./kind.ts";
import { type Json, mutateJson } from "./mutate-json.ts";

const STEP = { T: 3, Q: 1, S: 2, P: 8 };

export async function openPlan(folder: string): Promise<Bench> {
  await mkdir(folder, { recursive: true });
  const saved = join(folder, "tiny");
  await savePlan(tinyPlan(softwareFacts), saved);
  const document = JSON.parse(await readFile(join(saved, "plan.json"), "utf8")) as Json;
  return {
    make: (random) => ({ at: "plan.json", text: mutateJson(document, random, [document]) }),
    async run({ text }) {
      await writeFile(join(saved, "plan.json"), text);
      const plan = await loadPlan(saved);
      const wrong = verifyPlan(plan);
      if (wrong.length > 0) throw new Nonsense(`a plan is loaded that is not sound: ${wrong[0]!.replace(/.*: /, "")}`);
      const sizes = [...plan.buffers, ...plan.states].map((b) => evaluateSize(b.elements, STEP));
      if (!sizes.every((n) => Number.isSafeInteger(n) && n >= 0)) throw new Nonsense("a buffer's size is no count");
      return [];
    },
  };
}
