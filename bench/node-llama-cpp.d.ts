/** The part of `node-llama-cpp` that is used here: the package is installed only when it is measured. */
declare module "node-llama-cpp" {
  export interface Sequence {
    clearHistory(): Promise<void>;
    evaluateWithoutGeneratingNewTokens(tokens: readonly number[]): Promise<void>;
    evaluate(
      tokens: readonly number[],
      options: { temperature: number; yieldEogToken: boolean },
    ): AsyncIterable<number>;
  }
  export interface Context {
    getSequence(): Sequence;
  }
  export interface Model {
    createContext(options: {
      contextSize: number;
      batchSize: number;
      sequences: number;
      threads: number;
      ignoreMemorySafetyChecks: boolean;
    }): Promise<Context>;
  }
  export interface Llama {
    loadModel(options: {
      modelPath: string;
      gpuLayers: number | "max";
      ignoreMemorySafetyChecks: boolean;
    }): Promise<Model>;
  }
  export const LlamaLogLevel: { readonly warn: "warn"; readonly error: "error" };
  export function getLlama(options: {
    gpu: "vulkan" | false;
    build: "never";
    skipDownload: boolean;
    vramPadding: number;
    maxThreads: number;
    logLevel: "warn" | "error";
  }): Promise<Llama>;
}
