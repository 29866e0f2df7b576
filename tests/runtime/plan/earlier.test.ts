/**
 * Plans that earlier moecs saved. Two by moec 0.1.0 before plans had symbols, phases and kept buffers, for the kind `software`: one for generating, as
 * `moec build` left it, and one for evaluating (`compileModel` with that purpose), with an entry for whole sequences and an input per sequence.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { DEVICE_KINDS, promisedFacts } from "../../../compiler/plan/facts.ts";
import { openDevice } from "../../../runtime/dawn/open-device.ts";
import { loadModel } from "../../../runtime/load/load-model.ts";
import { loadPlan } from "../../../runtime/load/load-plan.ts";
import { open } from "../../../runtime/open.ts";
import { savePlan } from "../../../runtime/save/save-plan.ts";
import { openSession } from "../../../runtime/session/session.ts";
import { modelOf } from "../../support/programs.ts";
import { Draw, drawWeights } from "../../support/random-models.ts";
import { expectClose } from "../../support/session-checks.ts";
import { tinyPlan } from "../../support/tiny-plan.ts";

const FOLDER = "tests/fixtures/plan-version-1";
const WHOLE = "tests/fixtures/plan-version-1-whole";
const MODEL = "tests/fixtures/families/llama";

test("a plan of version 1 loads, and computes what one of today does", async () => {
  expect(JSON.parse(readFileSync(join(FOLDER, "plan.json"), "utf8"))).toMatchObject({ version: 1 });
  const plan = await loadPlan(FOLDER);
  expect(plan.device).toEqual(promisedFacts("software"));
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

/** What the second was built of. */
const TOLD = `
import { Embedding, Linear } from "std"

layer Block(D, G, C, E) {
  q    = Linear(D -> [G, C])
  k    = Linear(D -> [G, C])
  v    = Linear(D -> [G, C])
  o    = Linear([G, C] -> D)
  tell = Linear(E -> D)
  forward(x: [T, D], about: [E]) -> [T, D] =
    x + o(attend[C](q(x), k(x), v(x), causal: false)) + tell(about)
}
model Told(V, L, D, E) {
  embed  = Embedding(V -> D)
  blocks = L of Block(D, 2, 4, E)
  head   = Linear(D -> V)
  forward(ids: u32[T], about: [E]) -> f32[T, V] {
    x = embed(ids)
    for b in blocks { x = b(x, about) }
    return f32(head(x))
  }
}
config tiny: Told { V: 31  L: 2  D: 10  E: 6 }`;

test("so does one whose model looks ahead and has an input per sequence", async () => {
  const saved = JSON.parse(readFileSync(join(WHOLE, "plan.json"), "utf8")) as {
    buffers: { name: string; role: string }[];
  };
  expect(saved).toMatchObject({ version: 1 });
  expect(saved.buffers.find((b) => b.name === "about")?.role).toBe("condition");
  const plan = await loadPlan(WHOLE);
  expect(plan.entries.map((e) => [e.name, e.output, e.regime, e.phase])).toEqual([
    ["logits.whole", "logits", "whole", "infer"],
    ["nll.whole", "nll", "whole", "infer"],
  ]);
  expect(plan.buffers.find((b) => b.name === "about")?.role).toBe("per-sequence");
  const draw = new Draw(5);
  const { source, runOracle } = drawWeights(modelOf(TOLD), "f32", draw);
  using device = await openDevice();
  using session = await openSession({ plan, device, source, sequences: 2, capacity: 32 });
  const axes = [{ name: "E", size: 6 }];
  const batch = [19, 7].map((length) => Array.from({ length }, () => draw.below(31)));
  const told = batch.map(() => Float32Array.from({ length: 6 }, () => draw.next() - 0.5));
  const found = await session.forward(
    batch,
    told.map((about) => ({ about })),
  );
  batch.forEach((ids, i) =>
    expectClose(found[i]!, runOracle(ids, "evaluate", { about: { axes, data: Float64Array.from(told[i]!) } }), i),
  );
});

test.each(["software", "gpu"] as const)(
  "a plan of version 2 for a device of kind %s has its capabilities, and states of f32",
  async (kind) => {
    const scratch = mkdtempSync(join(tmpdir(), "moec-earlier-"));
    try {
      const [folder, facts] = [join(scratch, "plan"), promisedFacts(kind)];
      await savePlan(tinyPlan(facts), folder);
      const file = join(folder, "plan.json");
      const json = JSON.parse(readFileSync(file, "utf8")) as {
        version: number;
        device: Record<string, unknown>;
        states: readonly { store: string }[];
      };
      expect(json.version).toBe(2);
      const { fastWorkgroupMemory, manyCores, ...others } = json.device;
      expect({ fastWorkgroupMemory, manyCores }).toEqual(DEVICE_KINDS[kind]);
      const save = (device: object): void =>
        writeFileSync(file, JSON.stringify({ ...json, states: json.states.map(({ store: _, ...s }) => s), device }));
      save({ kind, ...others });
      const loaded = await loadPlan(folder);
      expect(loaded.device).toEqual(facts);
      expect(loaded.states.map((s) => s.store)).toEqual(["f32"]);
      save({ kind: "quantum", ...others });
      await expect(loadPlan(folder)).rejects.toThrow("`device.fastWorkgroupMemory`");
    } finally {
      rmSync(scratch, { recursive: true });
    }
  },
);
