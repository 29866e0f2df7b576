/** The model and the step that every engine of `train.ts` runs: a Llama of 1.3 M parameters, the shape of the models in `examples/checkpoints`. */
export const trainShape = {
  sequences: 4,
  tokens: 256,
  /** Words, channels, layers, heads, heads of keys and values, channels of a head, of a feed-forward. */
  V: 2048,
  D: 128,
  L: 4,
  H: 4,
  G: 2,
  C: 32,
  F: 384,
  eps: 1e-5,
  theta: 10000,
  rate: 1e-3,
  beta1: 0.9,
  beta2: 0.95,
} as const;

/** A step's ids, and what comes after each: row-major over sequences and tokens. */
export function makeBatch(): { readonly ids: readonly number[]; readonly target: readonly number[] } {
  const { sequences, tokens, V } = trainShape;
  const word = (i: number): number => (i * 7919) % V;
  const count = sequences * tokens;
  return {
    ids: Array.from({ length: count }, (_, i) => word(i)),
    target: Array.from({ length: count }, (_, i) => word(i + 1)),
  };
}

/** Parameters. */
export function countParameters(): number {
  const { V, D, L, H, G, C, F } = trainShape;
  return 2 * V * D + D + L * (2 * D + D * C * (2 * H + 2 * G) + 3 * D * F);
}

/** Multiply-adds, twice, of products in going forward, for a token: weights, then half of the pairs of tokens. */
export function flopsForward(): number {
  const { V, D, L, H, C, tokens } = trainShape;
  return 2 * (countParameters() - V * D) + L * 4 * H * C * ((tokens + 1) / 2);
}
