/**
 * The families of the standard library at sizes that fill no vector, workgroup or tile, with weights drawn from a seed,
 * against the oracle: batches of sequences of different lengths, inputs longer than a step, prefill and decode, for every
 * kind of kernel and device. `SEEDS=100 npx vitest run tests/families-sizes.test.ts` sweeps further.
 */
import { afterAll, beforeAll, expect, test } from "vitest";
import { compileModel } from "../compiler/index.ts";
import type { DeviceFacts } from "../compiler/plan/plan.ts";
import { type Device, openDevice } from "../runtime/device.ts";
import { openSession, type Session } from "../runtime/session.ts";
import { maxDifference } from "./support/close.ts";
import { type Config, Draw, drawConfig, drawWeights, families, modelOfConfig } from "./support/random-models.ts";

/** Of the largest logit. */
const tolerance = 1e-4;
const seeds = Number(process.env["SEEDS"] ?? 2);
const first = Number(process.env["FIRST"] ?? 0);

interface Variant {
  readonly name: string;
  readonly facts?: Partial<DeviceFacts>;
  readonly force?: { readonly contract?: string; readonly attend?: string };
}

const variants: readonly Variant[] = [
  { name: "as the device is" },
  { name: "no subgroups, no f16", facts: { subgroup: null, f16: false } },
  { name: "kernels for GPUs", facts: { kind: "gpu" } },
  { name: "attention for GPUs", force: { attend: "attend-gpu" } },
  { name: "parameters in parts", facts: { maxBinding: 2048 } },
  { name: "few storage buffers", facts: { maxStorageBuffers: 8 } },
  { name: "GPU, parts, few storage buffers", facts: { kind: "gpu", maxBinding: 2048, maxStorageBuffers: 8 } },
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
    const storage = draw.of(["f32", "bf16", "f16"] as const);
    const variant = variants[(seed * families.length + f) % variants.length]!;
    return { name: `${family} ${seed}: ${storage}, ${variant.name}`, config, storage, variant, draw };
  }),
);

// A software adapter compiles every size anew, and GPU kernels with their unrolled loops slowly.
test.each(cases)("$name", { timeout: 180_000 }, async ({ config, storage, variant, draw }) => {
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

type Oracle = (ids: readonly number[]) => Float64Array;

async function checkForward(
  session: Session,
  oracle: Oracle,
  batch: readonly (readonly number[])[],
  config: Config,
): Promise<void> {
  const found = await session.forward(batch);
  batch.forEach((ids, i) => expectClose(found[i]!, oracle(ids), config));
}

/** Two sequences, one fed in two pieces and one whole, then a token to each at a time. */
async function checkDecode(
  session: Session,
  oracle: Oracle,
  a: readonly number[],
  b: readonly number[],
  config: Config,
): Promise<void> {
  const [full, other] = [oracle(a), oracle(b)];
  const row = (logits: Float64Array, i: number) => logits.subarray(i * session.vocab, (i + 1) * session.vocab);
  const [start, begin] = [a.length - 4, b.length - 4];
  await session.prefill(2, a.slice(0, 3));
  expectClose(session.logits(2), row(full, 2), config);
  await session.prefill(0, b.slice(0, begin));
  await session.prefill(2, a.slice(3, start));
  expectClose(session.logits(0), row(other, begin - 1), config);
  expectClose(session.logits(2), row(full, start - 1), config);
  for (let i = 0; i < 4; i++) {
    await session.step([
      { slot: 2, id: a[start + i]! },
      { slot: 0, id: b[begin + i]! },
    ]);
    expectClose(session.logits(2), row(full, start + i), config);
    expectClose(session.logits(0), row(other, begin + i), config);
  }
  session.reset(0);
  session.reset(2);
}

function expectClose(found: Float32Array, wanted: Float64Array, config: Config): void {
  const scale = wanted.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
  expect(maxDifference(found, wanted) / scale, JSON.stringify(config)).toBeLessThan(tolerance);
}
