import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { NO_TOKEN, SETTINGS_WORDS, emitSample } from "../../../../compiler/codegen/kernel/sample.ts";
import { DEVICE_KINDS, type DeviceKind } from "../../../../compiler/plan/facts.ts";
import { randomNumbers } from "../../../support/contraction-case.ts";
import { type TestGpu, bindingKey, openTestGpu } from "../../../support/gpu.ts";

let gpu: TestGpu;
beforeAll(async () => {
  gpu = await openTestGpu();
});
afterAll(() => gpu.close());

interface Settings {
  readonly temperature: number;
  readonly topK?: number;
  readonly topP?: number;
  readonly seed?: number;
}

/** Samples `rows` times from the same logits, with a stream per row. */
async function sample(
  kind: DeviceKind,
  logits: Float32Array,
  settings: Settings,
  rows = 1,
  at = 0,
): Promise<Uint32Array> {
  const vocab = logits.length;
  const words = new Uint32Array(rows * SETTINGS_WORDS);
  const floats = new Float32Array(words.buffer);
  const all = new Float32Array(rows * vocab);
  for (let row = 0; row < rows; row++) {
    all.set(logits, row * vocab);
    floats[row * SETTINGS_WORDS] = settings.temperature;
    words[row * SETTINGS_WORDS + 1] = settings.topK ?? 0;
    floats[row * SETTINGS_WORDS + 2] = settings.topP ?? 1;
    words[row * SETTINGS_WORDS + 3] = settings.seed ?? 0;
    words[row * SETTINGS_WORDS + 4] = row;
  }
  const kernel = emitSample(vocab, { ...gpu.facts, ...DEVICE_KINDS[kind] });
  const data = [all, words, new Uint32Array(rows).fill(at), new Uint32Array(rows).fill(0xfffffffe)];
  const buffers = new Map(
    kernel.bindings.map((b, i) => [bindingKey(b), gpu.upload(data[i] as Float32Array | Uint32Array)]),
  );
  await gpu.submit([await gpu.prepare({ ...kernel, grid: [rows, 1, 1], constants: {} }, buffers, { T: rows })]);
  const next = buffers.get(bindingKey(kernel.bindings[3]!)) as GPUBuffer;
  return new Uint32Array(await gpu.read(next)).slice(0, rows);
}

/** Probability of each token by the definition: sort, cut, renormalise. */
function probabilities(logits: Float32Array, { temperature, topK = 0, topP = 1 }: Settings): Float64Array {
  const top = Math.max(...logits);
  const order = [...logits.keys()].sort((a, b) => (logits[b] as number) - (logits[a] as number) || a - b);
  const kept = order.slice(0, topK === 0 ? logits.length : topK);
  const weight = (i: number): number => Math.exp(((logits[i] as number) - top) / temperature);
  const total = kept.reduce((sum, i) => sum + weight(i), 0);
  let mass = 0;
  const out = new Float64Array(logits.length);
  for (const i of kept) {
    if (mass >= topP * total && mass > 0) break;
    mass += weight(i);
    out[i] = weight(i);
  }
  return out.map((x) => x / mass);
}

describe.each(["software", "gpu"] as const)("sampling for %s", (kind) => {
  for (const vocab of [37, 1000]) {
    const logits = randomNumbers(vocab, 5).map((x) => x * 4);

    it(`takes the largest of ${vocab} at temperature 0, the lowest index among equals`, async () => {
      const tied = logits.slice();
      tied[3] = tied[20] = tied[vocab - 1] = 9;
      expect([...(await sample(kind, tied, { temperature: 0 }))]).toEqual([3]);
      expect([...(await sample(kind, tied, { temperature: 1, topK: 1 }, 4))]).toEqual([3, 3, 3, 3]);
      expect([...(await sample(kind, tied, { temperature: 1, topP: 0 }, 4))]).toEqual([3, 3, 3, 3]);
    });

    const cases: readonly Settings[] = [
      { temperature: 1 },
      { temperature: 0.7, topK: 5 },
      { temperature: 1.5, topP: 0.6 },
      { temperature: 1, topK: 12, topP: 0.8 },
    ];
    it.each(cases)(`draws from ${vocab} with the frequencies of %o`, async (settings) => {
      const rows = 4000;
      const p = probabilities(logits, settings);
      const counts = new Float64Array(vocab);
      for (const id of await sample(kind, logits, { ...settings, seed: 7 }, rows, 3))
        counts[id] = (counts[id] as number) + 1;
      for (let i = 0; i < vocab; i++) {
        const [count, share] = [counts[i] as number, p[i] as number];
        if (share === 0) expect(count, `token ${i} is cut off`).toBe(0);
        else expect(Math.abs(count - rows * share), `token ${i}`).toBeLessThan(6 * Math.sqrt(rows * share) + 3);
      }
    });
  }

  it("keeps exactly as many of equal logits as are asked for, the first ones", async () => {
    const equal = new Float32Array(64).fill(1);
    equal[50] = 2;
    const topK = new Set(await sample(kind, equal, { temperature: 1, topK: 4 }, 500));
    expect([...topK].sort((a, b) => a - b)).toEqual([0, 1, 2, 50]);
  });

  it.each([Number.NaN, Infinity, -Infinity])(
    "has no token for a row with a logit that is %d, wherever it stands",
    async (x) => {
      for (const at of [0, 17, 36])
        for (const settings of [{ temperature: 0 }, { temperature: 1, topK: 5, topP: 0.9 }]) {
          const logits = randomNumbers(37, 5);
          logits[at] = x;
          expect([...(await sample(kind, logits, settings, 2))]).toEqual([NO_TOKEN, NO_TOKEN]);
        }
    },
  );

  it("repeats a draw for the same seed and position, and not for others", async () => {
    const flat = new Float32Array(1000);
    const draw = (seed: number, at: number): Promise<Uint32Array> =>
      sample(kind, flat, { temperature: 1, seed }, 8, at);
    const first = await draw(1, 5);
    expect(await draw(1, 5)).toEqual(first);
    expect(await draw(2, 5)).not.toEqual(first);
    expect(await draw(1, 6)).not.toEqual(first);
  });
});
