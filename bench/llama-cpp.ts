/**
 * llama.cpp through `node-llama-cpp`: Vulkan on the same adapter, and one CPU thread as the anchor (two threads spin at
 * each other's barriers on a small machine and decode slower than one). On a software adapter the Vulkan shaders take
 * minutes to compile once; Mesa keeps them on disk.
 */
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Engine, type Measurement, measurement, median, timeCalls } from "./engine.ts";
import { type GgufFormat, writeGguf } from "./gguf.ts";
import { decodeLength, makePrompt, promptLength } from "./moe-shape.ts";
import type { Sequence } from "node-llama-cpp";

export const engines: readonly Engine[] = [
  makeEngine("vulkan", "f32"),
  makeEngine("vulkan", "f16"),
  makeEngine("cpu", "f32"),
  makeEngine("cpu", "q8_0"),
];

function makeEngine(where: "vulkan" | "cpu", format: GgufFormat): Engine {
  const name = `llama.cpp ${where} (${format})`;
  let sequence: Sequence | null = null;
  return {
    name,
    runsOn: where === "cpu" ? "cpu" : "gpu",
    tasks: ["prefill", "decode"],
    async prepare() {
      sequence = await openSequence(where, format);
      await prefill(sequence);
      await decode(sequence);
    },
    async measure(task): Promise<Measurement> {
      if (!sequence) throw new Error(`${name} is not prepared`);
      if (task === "prefill") return measurement(task, promptLength / (await prefill(sequence)));
      if (task !== "decode") throw new Error(`${name} does not measure ${task}`);
      await prefill(sequence);
      return measurement(task, decodeLength / (await decode(sequence)));
    },
  };
}

async function openSequence(where: "vulkan" | "cpu", format: GgufFormat): Promise<Sequence> {
  // A software adapter is the only device and not "fast": llama.cpp skips it unless it is named.
  process.env["GGML_VK_VISIBLE_DEVICES"] ??= "0";
  const { LlamaLogLevel, getLlama } = await import("node-llama-cpp");
  const threads = 1;
  const llama = await getLlama({
    gpu: where === "cpu" ? false : where,
    build: "never",
    skipDownload: true,
    vramPadding: 0,
    maxThreads: threads,
    logLevel: LlamaLogLevel.error,
  });
  const modelPath = join(mkdtempSync(join(tmpdir(), "moec-bench-")), `${format}.gguf`);
  writeGguf(modelPath, format);
  const model = await llama.loadModel({
    modelPath,
    gpuLayers: where === "cpu" ? 0 : "max",
    ignoreMemorySafetyChecks: true,
  });
  const context = await model.createContext({
    contextSize: 1024,
    batchSize: 512,
    sequences: 1,
    threads,
    ignoreMemorySafetyChecks: true,
  });
  return context.getSequence();
}

/** Seconds for the prompt, median of three. */
async function prefill(sequence: Sequence): Promise<number> {
  const seconds: number[] = [];
  for (let i = 0; i < 3; i++) {
    await sequence.clearHistory();
    seconds.push(await timeCalls(1, () => sequence.evaluateWithoutGeneratingNewTokens(makePrompt())));
  }
  return median(seconds);
}

/** Seconds for the tokens that follow, the first of which is fed in. */
async function decode(sequence: Sequence): Promise<number> {
  let count = 0;
  const start = performance.now();
  for await (const _id of sequence.evaluate([500], { temperature: 0, yieldEogToken: true })) {
    count += 1;
    if (count === decodeLength) break;
  }
  return (performance.now() - start) / 1000;
}
