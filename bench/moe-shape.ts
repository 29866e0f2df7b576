/**
 * The mixture of experts that every engine runs: 50.1 M parameters, 17.6 M of them used for a token. Weights are random and
 * each engine makes its own, in its own format: only time is compared, not text.
 */
export const moeShape = {
  hidden: 512,
  layers: 6,
  heads: 8,
  kvHeads: 2,
  headSize: 64,
  experts: 16,
  chosen: 4,
  expertWidth: 256,
  vocabulary: 8192,
  context: 2048,
  theta: 1e6,
  epsilon: 1e-6,
} as const;

export const promptLength = 128;
export const decodeLength = 16;

/** Token ids spread over a vocabulary, so that routing is spread over the experts: `spread` of them, from 300 on. */
export function makePrompt(length: number = promptLength, spread = 7000): number[] {
  return Array.from({ length }, (_, i) => 300 + ((i * 7919) % spread));
}

/** Range of uniform weights that keeps the variance of what goes through a matrix with `inputs` rows. */
export function weightRange(inputs: number): number {
  return (1.4 * Math.sqrt(3)) / Math.sqrt(inputs);
}
