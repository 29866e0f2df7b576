/**
 * Models of the library that upcyclings make and no family of transformers has, on the GPU against the oracle: batches, prefill in
 * pieces, single tokens. What chooses tokens of a whole sequence generates by its guess.
 */
import { afterAll, beforeAll, test } from "vitest";
import { compileModel } from "../compiler/index.ts";
import type { Purpose } from "../compiler/language/interpret/context.ts";
import { openDevice } from "../runtime/dawn/open-device.ts";
import type { Device } from "../runtime/gpu/device.ts";
import { openSession } from "../runtime/session/session.ts";
import { modelOf } from "./support/programs.ts";
import { Draw, drawWeights } from "./support/random-models.ts";
import { checkDecode, checkForward } from "./support/session-checks.ts";

let device: Device;
beforeAll(async () => {
  device = await openDevice();
});
afterAll(() => device.close());

const sizes = "V: 31, L: 2, D: 10, F: 12, G: 1, R: 2, C: 4";
const member = (family: string, more = "tie: false"): string => `M: 3  member: ${family}(${sizes}, ${more})`;

test.each<[string, string, Purpose]>([
  ["Ensemble", member("Llama"), "generate"],
  ["Ensemble", `prior: [2, 0, 1]  top: 2  ${member("Qwen3", "tie: true, windowed: true, window: 9")}`, "generate"],
  ["DepthsLlama", 'share: 0.4  bias: true  out_bias: false  heads: "head"', "evaluate"],
  ["SparseLlama", "N: 3  K: 2  idle: 2  dense: [0]", "generate"],
  ["SparseDepthsLlama", "N: 3  K: 2  share: 0.4  routed: [0, 1]", "evaluate"],
])("%s, %s", async (name, more, forward) => {
  const model = modelOf(`
import { Llama, Qwen3, ${name} } from "std"
config tiny: ${name} { ${name === "Ensemble" ? "V: 31" : sizes} ${more} }`);
  const draw = new Draw(5);
  const weights = drawWeights(model, "f32", draw);
  const plan = compileModel(model, {
    device: device.facts,
    storage: () => "f32",
    stepTokens: 16,
    verify: true,
    purpose: "generate",
  });
  const session = await openSession({ plan, device, source: weights.source, sequences: 3, capacity: 320 });
  try {
    const ids = (n: number): number[] => Array.from({ length: n }, () => draw.below(31));
    await checkForward(session, (x) => weights.runOracle(x, forward), [ids(33), ids(1), ids(50)], more);
    await checkDecode(session, (x) => weights.runOracle(x, "generate"), ids(40), ids(12), more);
  } finally {
    session.close();
  }
});
