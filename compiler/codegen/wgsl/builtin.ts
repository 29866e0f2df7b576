/**
 * WGSL helper functions that kernels may ask for by name through `KernelWriter.use`; `uses` names those a helper calls.
 */
export const helpers: Readonly<Record<string, { readonly text: string; readonly uses: readonly string[] }>> = {
  // As functions, so that a shader's compiler does not refuse an argument that it knows and that overflows.
  moe_exp: { text: "fn moe_exp(x: f32) -> f32 { return exp(x); }", uses: [] },
  moe_exp4: { text: "fn moe_exp4(x: vec4<f32>) -> vec4<f32> { return exp(x); }", uses: [] },
  moe_sigmoid: { text: sigmoidFunction("moe_sigmoid", "f32"), uses: [] },
  moe_sigmoid4: { text: sigmoidFunction("moe_sigmoid4", "vec4<f32>"), uses: [] },
  moe_tanh: { text: hyperbolicTangent("moe_tanh", "f32"), uses: [] },
  moe_tanh4: { text: hyperbolicTangent("moe_tanh4", "vec4<f32>"), uses: [] },
  moe_pow: { text: powerFunction("moe_pow", "f32", "u32"), uses: [] },
  moe_pow4: { text: powerFunction("moe_pow4", "vec4<f32>", "vec4<u32>"), uses: [] },
  moe_sum: { text: sumFunction("moe_sum", "f32", "u32"), uses: [] },
  moe_sum4: { text: sumFunction("moe_sum4", "vec4<f32>", "vec4<u32>"), uses: [] },
  moe_erf: { text: errorFunction("moe_erf", "f32"), uses: [] },
  moe_erf4: { text: errorFunction("moe_erf4", "vec4<f32>"), uses: [] },
  moe_hash: { text: hashFunction("moe_hash", "u32"), uses: [] },
  moe_hash4: { text: hashFunction("moe_hash4", "vec4<u32>"), uses: [] },
};

/** Beyond 88, exp passes what float32 holds; a bound that is chosen by comparing leaves NaN as it is. */
function sigmoidFunction(name: string, type: string): string {
  return `fn ${name}(x: ${type}) -> ${type} {
  return 1.0 / (1.0 + exp(select(-x, ${type}(88.0), x < ${type}(-88.0))));
}`;
}

/**
 * Beyond 15 it is 1 in f32; drivers compute it from exponentials that overflow, and that cancel near zero, where a series has all digits.
 */
function hyperbolicTangent(name: string, type: string): string {
  return `fn ${name}(x: ${type}) -> ${type} {
  let low = select(x, ${type}(-15.0), x < ${type}(-15.0));
  let s = x * x;
  let small = x * (1.0 - s * (0.33333333 - s * (0.13333333 - s * (0.053968254 - s * 0.021869489))));
  return select(tanh(select(low, ${type}(15.0), x > ${type}(15.0))), small, abs(x) < ${type}(0.25));
}`;
}

/** As of numbers, where WGSL's has no negative base: of a whole exponent the sign is the base's or none, of another it is no number. */
function powerFunction(name: string, type: string, bits: string): string {
  return `fn ${name}(x: ${type}, y: ${type}) -> ${type} {
  let size = select(pow(abs(x), y), ${type}(1.0), y == ${type}(0.0));
  let odd = floor(y * 0.5) * 2.0 != y;
  let signed = select(size, -size, (x < ${type}(0.0)) & odd);
  return bitcast<${type}>(bitcast<${bits}>(signed) | select(${bits}(), ${bits}(0x7fffffffu), (x < ${type}(0.0)) & (floor(y) != y)));
}`;
}

/**
 * A sum as it is; NaN where it has passed what float32 holds. Infinite, it could be divided by, as a norm does, and leave zeros that look like
 * a result. It is told by its bits: shaders may assume that numbers are finite.
 */
function sumFunction(name: string, type: string, bits: string): string {
  return `fn ${name}(x: ${type}) -> ${type} {
  let bits = bitcast<${bits}>(x);
  let exponent = ${bits}(0x7f800000u);
  return bitcast<${type}>(bits | select(${bits}(), ${bits}(0x7fffffffu), (bits & exponent) == exponent));
}`;
}

/** Abramowitz and Stegun 7.1.26, absolute error 1.5e-7; near zero 7.1.5, its series; beyond 6 the result is 1 in f32 anyway. */
function errorFunction(name: string, type: string): string {
  return `fn ${name}(x: ${type}) -> ${type} {
  let a = select(abs(x), ${type}(6.0), abs(x) > ${type}(6.0));
  let t = 1.0 / (1.0 + 0.3275911 * a);
  let p = ((((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736) * t + 0.254829592) * t;
  let s = x * x;
  let small = x * (1.1283792 - s * (0.37612639 - s * (0.11283792 - s * (0.026866170 - s * 0.0052239776))));
  return select(sign(x) * (1.0 - p * exp(-a * a)), small, a < ${type}(0.25));
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
