/**
 * The families of the standard library at sizes that fill no vector, workgroup or tile, with weights drawn from a seed,
 * against the oracle: batches of sequences of different lengths, inputs longer than a step, prefill and decode, for every
 * kind of kernel and device. `SEEDS=100 npx vitest run tests/families-sizes.test.ts` sweeps further.
 */
import { afterAll, beforeAll, test } from "vitest";
import { ELEMENT_TYPES } from "../runtime/checkpoint/element-type.ts";
import { compileModel } from "../compiler/index.ts";
import type { DeviceFacts } from "../compiler/plan/plan.ts";
import { openDevice } from "../runtime/dawn/open-device.ts";
import type { Device } from "../runtime/gpu/device.ts";
import { openSession } from "../runtime/session/session.ts";
import { likeGpu } from "./support/facts.ts";
import { Draw, drawConfig, drawWeights, families, modelOfConfig } from "./support/random-models.ts";
import { checkDecode, checkForward } from "./support/session-checks.ts";

const seeds = Number(process.env["SEEDS"] ?? 2);
const first = Number(process.env["FIRST"] ?? 0);

interface Variant {
  readonly name: string;
  readonly facts?: Partial<DeviceFacts>;
  readonly force?: { readonly contraction?: string; readonly attend?: string };
}

const variants: readonly Variant[] = [
  { name: "as the device is" },
  { name: "no subgroups, no f16", facts: { subgroup: null, f16: false } },
  { name: "kernels for GPUs", facts: likeGpu },
  { name: "attention for GPUs", force: { attend: "attend-gpu" } },
  { name: "parameters in parts", facts: { maxBinding: 2048 } },
  { name: "few storage buffers", facts: { maxStorageBuffers: 8 } },
  { name: "GPU, parts, few storage buffers", facts: { ...likeGpu, maxBinding: 2048, maxStorageBuffers: 8 } },
];

let device: Device;
beforeAll(async () => {
  device = await openDevice();
});
afterAll(() => device.close());

const cases = Array.from({ length: seeds }, (_, i) => first + i).flatMap((seed) =>
  families.map((family, f) => {
    const draw = new Draw(seed * families.length + f);
    const config = drawConfig(family, draw);
    const storage = draw.of(ELEMENT_TYPES);
    const variant = variants[(seed * families.length + f) % variants.length]!;
    return { name: `${family} ${seed}: ${storage}, ${variant.name}`, config, storage, variant, draw };
  }),
);

// A software adapter compiles every size anew, and GPU kernels with their unrolled loops slowly.
test.each(cases)("$name", async ({ config, storage, variant, draw }) => {
  const model = modelOfConfig(config);
  const weights = drawWeights(model, storage, draw);
  const plan = compileModel(model, {
    device: { ...device.facts, ...variant.facts },
    storage: () => storage,
    ...(variant.force === undefined ? {} : { force: variant.force }),
    verify: true,
  });
  const stepTokens = draw.of([16, 37, 64]);
  const session = await openSession({ plan, device, source: weights.source, sequences: 3, capacity: 320, stepTokens });
  try {
    const drawIds = (length: number): number[] => Array.from({ length }, () => draw.below(session.vocab));
    await checkForward(session, weights.runOracle, [drawIds(draw.of([5, 9, 33])), drawIds(1), drawIds(70)], config);
    if (draw.below(3) === 0) await checkForward(session, weights.runOracle, [drawIds(300)], config);
    await checkDecode(session, weights.runOracle, drawIds(draw.of([12, 30, 80])), drawIds(12), config);
  } finally {
    session.close();
  }
});
