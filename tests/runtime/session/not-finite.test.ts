/**
 * Weights that are finite and too large: a model with one of them gives what float64 gives, or says that its results mean nothing. It never
 * gives something else, such as the zeros that dividing by an overflowed sum leaves.
 */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { buildProgram, compileModel, evaluateProgram } from "../../../compiler/index.ts";
import type { ArrayValue } from "../../../compiler/index.ts";
import type { Diagnostic } from "../../../grammar/index.ts";
import { toFloat32 } from "../../../runtime/checkpoint/data-type.ts";
import { openDevice } from "../../../runtime/dawn/open-device.ts";
import type { Device } from "../../../runtime/gpu/device.ts";
import { loadModel } from "../../../runtime/load/load-model.ts";
import type { LoadedModel } from "../../../runtime/model/model.ts";
import { NotFinite } from "../../../runtime/session/not-finite.ts";
import type { ParameterSource } from "../../../runtime/gpu/parameters.ts";
import { openSession } from "../../../runtime/session/session.ts";
import { explainNotFinite, traceFinite } from "../../../runtime/trace-finite.ts";
import { ELEMENTS } from "../../../runtime/checkpoint/element-type.ts";

let device: Device;
beforeAll(async () => void (device = await openDevice()));
afterAll(() => device.close());

const ids = [1, 5, 9, 3, 7];

/** A model's source in float32, one element of one parameter another. */
function spoil({ source }: LoadedModel, path: string, element: number, value: number): ParameterSource {
  return {
    storage: () => "f32",
    read: async (name, start, length) => {
      const stored = await source.read(name, start, length);
      const values = toFloat32(ELEMENTS[source.storage(name)].dtype, stored.slice());
      if (name === path && element >= start && element < start + length) values[element - start] = value;
      return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
    },
  };
}

/** Logits in float64. */
async function oracle({ model }: LoadedModel, source: ParameterSource): Promise<Float64Array> {
  const params = new Map<string, ArrayValue>();
  for (const { path, axes } of model.parameters) {
    const bytes = await source.read(
      path,
      0,
      axes.reduce((n, a) => n * a.size, 1),
    );
    params.set(path, { axes, data: Float64Array.from(new Float32Array(bytes.slice().buffer)) });
  }
  const inputs = { ids: { axes: [{ name: "T", size: ids.length }], data: Float64Array.from(ids) } };
  return evaluateProgram(buildProgram(model.instance), {
    inputs,
    params: (path) => params.get(path)!,
    sizes: { T: ids.length },
  })["logits"]!.data;
}

const close = (a: number, b: number): boolean => Math.abs(a - b) <= 2e-3 * Math.max(1, Math.abs(a), Math.abs(b));

describe.each(["llama", "gemma2", "qwen3_moe", "gpt2"])("%s", (family) => {
  test("with one extreme weight, wherever it is, gives what float64 gives or says session/not-finite", async () => {
    const loaded = await loadModel(`tests/fixtures/families/${family}`);
    const { model } = loaded;
    const plan = compileModel(model, { device: device.facts, storage: () => "f32" });
    const wrong: string[] = [];
    let refused = 0;
    for (const [i, { path }] of model.parameters.entries()) {
      const value = i % 2 === 0 ? 1e20 : -3e38;
      const source = spoil(loaded, path, 5, value);
      using session = await openSession({ plan, device, source });
      const logits = await session.forward([ids]).catch((error: unknown) => {
        if (error instanceof NotFinite) return null;
        throw error;
      });
      const generated = await session
        .generate({ prompts: [ids], maxTokens: 1 })
        .next()
        .catch((error: unknown) => (error instanceof NotFinite ? null : Promise.reject(error)));
      if (logits === null) refused++;
      // The sampler sees what `forward` sees of the last token.
      if (logits !== null && generated === null) wrong.push(`${path}: generation alone was refused`);
      if (logits === null) continue;
      const expected = await oracle(loaded, source);
      const at = logits[0]!.findIndex((x, n) => !close(x, expected[n]!));
      if (at >= 0) wrong.push(`${path} = ${value}: logit ${at} is ${logits[0]![at]}, not ${expected[at]}`);
    }
    await loaded.checkpoint.close();
    expect(wrong).toEqual([]);
    expect(refused).toBeGreaterThan(model.parameters.length / 4);
  });
});

test("the layer, the token and the weight are named", async () => {
  const whole = await loadModel("tests/fixtures/families/qwen3_moe");
  const path = "blocks[0].ffn.down.w";
  const loaded = { ...whole, source: spoil(whole, path, 5, 1e20) };
  const trace = await traceFinite(loaded, ids, { device });
  expect(trace).toMatchObject({ part: "blocks[1].norm1", spoilt: "blocks[1].attn", token: 0 });
  expect(trace.growth?.map((g) => g.part)).toEqual(["blocks[0].ffn.down", "blocks[1]"]);
  expect(trace.before!.largest).toBeGreaterThan(1e17);
  expect(trace.extremes).toEqual([expect.stringContaining(`\`${path}\` holds 1.00e+20`)]);
  const plan = compileModel(whole.model, { device: device.facts, storage: () => "f32" });
  const notes: Diagnostic[] = [];
  using session = await openSession({ plan, device, source: loaded.source, onNote: (note) => notes.push(note) });
  expect(notes.map((n) => n.code)).toEqual(["checkpoint/extreme"]);
  const error: unknown = await session.score([ids]).catch((e: unknown) => e);
  expect(error).toBeInstanceOf(NotFinite);
  expect((error as NotFinite).ids).toEqual(ids.slice(0, (error as NotFinite).ids.length));
  const told = await explainNotFinite(error as NotFinite, loaded, { device });
  expect(told.message).toContain("this begins in `blocks[1].norm1`, at token 0");
  await whole.checkpoint.close();
});

test("a sound model's trace finds nothing", async () => {
  const loaded = await loadModel("tests/fixtures/families/llama");
  const trace = await traceFinite(loaded, ids, { device });
  expect(trace).toMatchObject({ part: null, spoilt: null, growth: null, extremes: [] });
  expect(trace.before?.part).toBe("head");
  await loaded.checkpoint.close();
});
