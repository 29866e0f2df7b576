/**
 * Half-width floats as bit patterns: IEEE binary16 (f16) and bfloat16, to and from float32. Narrowing rounds to nearest,
 * ties to even; infinities stay, NaN stays NaN (quiet), overflow becomes infinity, subnormals are kept. Everything works
 * on whole arrays with integer arithmetic, because `Float16Array` is not in every Node that we support.
 */

/** float32 values of f16 bit patterns. `target`, when given, has the same length. */
export function widenF16(source: Uint16Array, target: Float32Array = new Float32Array(source.length)): Float32Array {
  const out = bitsOf(target);
  const table = f16Table();
  for (let i = 0; i < source.length; i++) out[i] = table[source[i]!]!;
  return target;
}

/** float32 values of bf16 bit patterns: the upper half of a float32, so nothing is lost. */
export function widenBf16(source: Uint16Array, target: Float32Array = new Float32Array(source.length)): Float32Array {
  const out = bitsOf(target);
  for (let i = 0; i < source.length; i++) out[i] = source[i]! << 16;
  return target;
}

/** f16 bit patterns of float32 values, rounded to nearest even. */
export function narrowF16(source: Float32Array, target: Uint16Array = new Uint16Array(source.length)): Uint16Array {
  const bits = bitsOf(source);
  for (let i = 0; i < bits.length; i++) target[i] = narrowF16Bits(bits[i]!);
  return target;
}

/** bf16 bit patterns of float32 values, rounded to nearest even. */
export function narrowBf16(source: Float32Array, target: Uint16Array = new Uint16Array(source.length)): Uint16Array {
  // Signed, so that the sums below stay machine integers.
  const bits = new Int32Array(source.buffer, source.byteOffset, source.length);
  for (let i = 0; i < bits.length; i++) {
    const x = bits[i]!;
    // A NaN whose payload is all in the lower half would round to infinity: set a bit that survives.
    if ((x & 0x7fffffff) > 0x7f800000) target[i] = (x >>> 16) | 0x0040;
    else target[i] = ((x + 0x7fff + ((x >>> 16) & 1)) | 0) >>> 16;
  }
  return target;
}

function bitsOf(values: Float32Array): Uint32Array {
  return new Uint32Array(values.buffer, values.byteOffset, values.length);
}

let table: Uint32Array | null = null;

/** float32 bits of all 65,536 f16 values: 256 kB once, and then one load per element. */
function f16Table(): Uint32Array {
  if (table === null) {
    table = new Uint32Array(0x10000);
    for (let h = 0; h < 0x10000; h++) table[h] = widenF16Bits(h);
  }
  return table;
}

function widenF16Bits(half: number): number {
  const sign = (half & 0x8000) << 16;
  const exponent = (half >>> 10) & 0x1f;
  const fraction = half & 0x3ff;
  if (exponent === 0x1f) return sign | 0x7f800000 | (fraction << 13);
  if (exponent !== 0) return sign | ((exponent + 112) << 23) | (fraction << 13);
  if (fraction === 0) return sign;
  // Subnormal: float32 has the range to make it normal. `shift` brings the leading one to bit 10, where it is implied.
  const shift = Math.clz32(fraction) - 21;
  return sign | ((113 - shift) << 23) | (((fraction << shift) & 0x3ff) << 13);
}

function narrowF16Bits(single: number): number {
  const sign = (single >>> 16) & 0x8000;
  const x = single & 0x7fffffff;
  if (x > 0x7f800000) return sign | 0x7e00 | ((x >>> 13) & 0x1ff);
  if (x >= 0x47800000) return sign | 0x7c00; // 2^16 and above, infinity included
  if (x >= 0x38800000) return sign | ((x - 0x38000000 + 0xfff + ((x >>> 13) & 1)) >>> 13); // normal, from 2^-14
  if (x < 0x33000000) return sign; // below 2^-25, half of the least subnormal
  const mantissa = (x & 0x7fffff) | 0x800000;
  const shift = 126 - (x >>> 23); // one unit of the result is 2^-24
  return sign | ((mantissa + (1 << (shift - 1)) - 1 + ((mantissa >>> shift) & 1)) >>> shift);
}
