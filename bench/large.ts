/**
 * `node bench/large.ts`: a mixture of a real shape (OLMoE: 6.9 G parameters, 1.3 G of them used for a token), random weights
 * in bf16, for GPUs with 16 GB to spare. Prints tokens per second of prompts and of decoding behind them, greedy, one
 * sequence. `bench/pytorch.py` is its peer: the same shape through PyTorch on the same GPU.
 */
import { compileModel } from "../compiler/index.ts";
import { openDevice } from "../runtime/dawn/open-device.ts";
import type { ParameterSource } from "../runtime/gpu/parameters.ts";
import { openSession } from "../runtime/session/session.ts";
import { timeCalls } from "./engine.ts";
import { makePrompt } from "./moe-shape.ts";
import { generate, readModel, storageOf } from "./moec.ts";

const PROMPTS = [128, 512, 2048];
const CONTEXTS = [128, 2048];
const ROUNDS = 5;
const TOKENS = 64;
/** Ids of its vocabulary that prompts have. */
const SPREAD = 49000;

const device = await openDevice();
const model = readModel("mixture.moe", "large");
const plan = compileModel(model, { device: device.facts, storage: storageOf("bf16") });
const begun = performance.now();
const session = await openSession({ plan, device, source: repeatedSource(), capacity: 4096 });
console.log(`${device.adapter.name}: loaded in ${((performance.now() - begun) / 1000).toFixed(1)} s`);
for (const length of PROMPTS) {
  const prefill = async (): Promise<void> => {
    session.reset(0);
    await session.prefill(0, makePrompt(length, SPREAD));
  };
  // The first prepares pipelines.
  await prefill();
  console.log(`prompt of ${length}: ${(length / (await timeCalls(ROUNDS, prefill))).toFixed(0)} tokens/s`);
}
for (const context of CONTEXTS) {
  const seconds = await generate(session, TOKENS, makePrompt(context, SPREAD));
  console.log(`decoding after ${context}: ${(1 / seconds).toFixed(1)} tokens/s`);
}
process.exit(0);

/** One block of random numbers over and over: to draw as many as there are would take minutes. Norms are ones. */
function repeatedSource(): ParameterSource {
  const storage = storageOf("bf16");
  const block = new Uint16Array(1 << 22);
  const float = new Float32Array(1);
  const bits = new Uint32Array(float.buffer);
  let state = 1;
  for (let i = 0; i < block.length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    float[0] = (state / 2 ** 32 - 0.5) * 0.05;
    block[i] = bits[0]! >>> 16;
  }
  return {
    storage,
    read(path, _, length) {
      if (storage(path) === "f32") return Promise.resolve(new Uint8Array(new Float32Array(length).fill(1).buffer));
      const values = new Uint16Array(length);
      for (let at = 0; at < length; at += block.length) values.set(block.subarray(0, length - at), at);
      return Promise.resolve(new Uint8Array(values.buffer));
    },
  };
}
