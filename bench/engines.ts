/** All engines by the file that makes them, in the order of the table. Files are loaded only in the engine's own process. */

export interface EngineEntry {
  readonly file: string;
  readonly name: string;
  /** In need of `bench/node_modules`. */
  readonly isPeer?: true;
  /** Left out unless asked for by name: minutes of preparation on a software adapter. */
  readonly isSlowToPrepare?: true;
}

/** What the adapter can do at most, which every round measures; no engine beside others. */
export const ROOFLINE = "roofline of the adapter";

export const engineEntries: readonly EngineEntry[] = [
  { file: "roofline.ts", name: ROOFLINE },
  { file: "moec.ts", name: "moec (f32)" },
  { file: "moec.ts", name: "moec (bf16)" },
  { file: "onnxruntime.ts", name: "onnxruntime webgpu (4-bit experts, 4-bit dense)", isPeer: true },
  { file: "onnxruntime.ts", name: "onnxruntime webgpu (4-bit experts, f32 dense)", isPeer: true },
  { file: "llama-cpp.ts", name: "llama.cpp vulkan (f32)", isPeer: true, isSlowToPrepare: true },
  { file: "llama-cpp.ts", name: "llama.cpp vulkan (f16)", isPeer: true, isSlowToPrepare: true },
  { file: "onnxruntime.ts", name: "onnxruntime cpu (f32)", isPeer: true },
  { file: "llama-cpp.ts", name: "llama.cpp cpu (f32)", isPeer: true },
  { file: "llama-cpp.ts", name: "llama.cpp cpu (q8_0)", isPeer: true },
];

/** Those that train; each of them does the same step of the same model (`train-shape.ts`). */
export const trainEntries: readonly EngineEntry[] = [
  { file: "roofline.ts", name: ROOFLINE },
  { file: "moec-train.ts", name: "moec" },
  { file: "tfjs.ts", name: "tfjs webgpu", isPeer: true },
  { file: "pytorch-train.ts", name: "pytorch cpu" },
];
