/**
 * WGSL helper functions that kernels may ask for by name through `KernelWriter.use`; `uses` names those a helper calls.
 */
export const helpers: Readonly<Record<string, { readonly text: string; readonly uses: readonly string[] }>> = {
  moe_erf: { text: errorFunction("moe_erf", "f32"), uses: [] },
  moe_erf4: { text: errorFunction("moe_erf4", "vec4<f32>"), uses: [] },
  moe_hash: { text: hashFunction("moe_hash", "u32"), uses: [] },
  moe_hash4: { text: hashFunction("moe_hash4", "vec4<u32>"), uses: [] },
};

/** Abramowitz and Stegun 7.1.26, absolute error 1.5e-7; beyond 6 the result is 1 in f32 anyway. */
function errorFunction(name: string, type: string): string {
  return `fn ${name}(x: ${type}) -> ${type} {
  let a = min(abs(x), ${type}(6.0));
  let t = 1.0 / (1.0 + 0.3275911 * a);
  let p = ((((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736) * t + 0.254829592) * t;
  return sign(x) * (1.0 - p * exp(-a * a));
}`;
}

/** PCG-RXS-M-XS: one step of a generator whose state is the argument. */
function hashFunction(name: string, type: string): string {
  return `fn ${name}(x: ${type}) -> ${type} {
  let s = x * 747796405u + 2891336453u;
  let w = ((s >> ((s >> ${type}(28u)) + 4u)) ^ s) * 277803737u;
  return (w >> ${type}(22u)) ^ w;
}`;
}
