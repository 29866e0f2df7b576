/**
 * What the bench uses of tfjs, which only `bench/node_modules` has. Its own types bring another version of WebGPU's along, which would not go
 * with ours.
 */
export interface Tensor {
  add(other: Tensor | number): Tensor;
  sub(other: Tensor): Tensor;
  mul(other: Tensor | number): Tensor;
  neg(): Tensor;
  square(): Tensor;
  mean(axis?: number, keepDims?: boolean): Tensor;
  sum(axis?: number): Tensor;
  matMul(other: Tensor, transposeA?: boolean, transposeB?: boolean): Tensor;
  reshape(shape: readonly number[]): Tensor;
  transpose(order: readonly number[]): Tensor;
  slice(begin: readonly number[], size: readonly number[]): Tensor;
  data(): Promise<Float32Array>;
  dispose(): void;
}
export type Gradients = Readonly<Record<string, Tensor>>;
export interface Library {
  readonly train: {
    adam(rate: number, beta1: number, beta2: number, eps: number): { applyGradients(gradients: Gradients): void };
  };
  variable(of: Tensor, trainable: boolean, name: string): Tensor;
  randomNormal(shape: readonly number[], mean: number, std: number): Tensor;
  ones(shape: readonly number[]): Tensor;
  tensor(values: readonly unknown[], shape?: readonly number[], dtype?: "int32"): Tensor;
  gather(of: Tensor, index: Tensor): Tensor;
  concat(parts: readonly Tensor[], axis: number): Tensor;
  rsqrt(x: Tensor): Tensor;
  sigmoid(x: Tensor): Tensor;
  softmax(x: Tensor): Tensor;
  logSumExp(x: Tensor, axis: number): Tensor;
  oneHot(index: Tensor, depth: number): Tensor;
  tidy<T>(make: () => T): T;
  variableGrads(loss: () => Tensor): { readonly value: Tensor; readonly grads: Gradients };
  removeBackend(name: string): void;
  registerBackend(name: string, make: () => object, priority: number): void;
  setBackend(name: string): Promise<boolean>;
  ready(): Promise<void>;
  env(): { set(flag: string, value: boolean): void };
}

export interface Backend {
  readonly WebGPUBackend: new (device: GPUDevice, info: object) => object;
}
