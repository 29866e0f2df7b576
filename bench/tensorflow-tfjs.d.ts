/** What the bench uses of tfjs, which only `bench/node_modules` has. */
declare module "@tensorflow/tfjs" {
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
  export const train: {
    adam(rate: number, beta1: number, beta2: number, eps: number): { applyGradients(gradients: Gradients): void };
  };
  export function variable(of: Tensor, trainable: boolean, name: string): Tensor;
  export function randomNormal(shape: readonly number[], mean: number, std: number): Tensor;
  export function ones(shape: readonly number[]): Tensor;
  export function tensor(values: readonly unknown[], shape?: readonly number[], dtype?: "int32"): Tensor;
  export function gather(of: Tensor, index: Tensor): Tensor;
  export function concat(parts: readonly Tensor[], axis: number): Tensor;
  export function rsqrt(x: Tensor): Tensor;
  export function sigmoid(x: Tensor): Tensor;
  export function softmax(x: Tensor): Tensor;
  export function logSumExp(x: Tensor, axis: number): Tensor;
  export function oneHot(index: Tensor, depth: number): Tensor;
  export function tidy<T>(make: () => T): T;
  export function variableGrads(loss: () => Tensor): { readonly value: Tensor; readonly grads: Gradients };
  export function removeBackend(name: string): void;
  export function registerBackend(name: string, make: () => object, priority: number): void;
  export function setBackend(name: string): Promise<boolean>;
  export function ready(): Promise<void>;
  export function env(): { set(flag: string, value: boolean): void };
}

declare module "@tensorflow/tfjs-backend-webgpu" {
  export class WebGPUBackend {
    constructor(device: GPUDevice, info: object);
  }
}
