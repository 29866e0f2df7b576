/** The part of `onnxruntime-node` that is used here: the package is installed only when it is measured. */
declare module "onnxruntime-node" {
  export class Tensor {
    constructor(type: string, data: Float32Array | Int32Array | BigInt64Array, dims: readonly number[]);
    readonly data: Float32Array;
  }
  export type Values = Readonly<Record<string, Tensor>>;
  export class InferenceSession {
    static create(
      model: Uint8Array,
      options: { executionProviders: string[]; logSeverityLevel: number },
    ): Promise<InferenceSession>;
    run(feeds: Values): Promise<Values>;
  }
}
