/** All engines by the file that makes them, in the order of the table. Files are loaded only in the engine's own process. */

export interface EngineEntry {
  readonly file: string;
  readonly name: string;
  /** Left out unless asked for by name: minutes of preparation on a software adapter. */
  readonly isSlowToPrepare?: true;
}

/** What the adapter can do at most, which every round measures; no engine beside others. */
export const ROOFLINE = "roofline of the adapter";

export const engineEntries: readonly EngineEntry[] = [
  { file: "roofline.ts", name: ROOFLINE },
  { file: "moec.ts", name: "moec (f32)" },
  { file: "moec.ts", name: "moec (bf16)" },
  { file: "onnxruntime.ts", name: "onnxruntime webgpu (4-bit experts, 4-bit dense)" },
  { file: "onnxruntime.ts", name: "onnxruntime webgpu (4-bit experts, f32 dense)" },
  { file: "llama-cpp.ts", name: "llama.cpp vulkan (f32)", isSlowToPrepare: true },
  { file: "llama-cpp.ts", name: "llama.cpp vulkan (f16)", isSlowToPrepare: true },
  { file: "onnxruntime.ts", name: "onnxruntime cpu (f32)" },
  { file: "llama-cpp.ts", name: "llama.cpp cpu (f32)" },
  { file: "llama-cpp.ts", name: "llama.cpp cpu (q8_0)" },
];
