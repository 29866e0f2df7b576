/**
 * Picks the next token of each row of logits on the GPU. In this order: divide by the temperature; keep the `top_k`
 * largest (0: all); keep the fewest most probable whose probabilities, renormalised, reach `top_p` (at least one;
 * 1: all); draw from what is left by its cumulative distribution in order of index. Temperature 0 takes the largest.
 * Ties go to the lowest index everywhere. The random number is a hash of (seed, position, stream), so a row's draw does
 * not depend on what else is in the batch.
 *
 * One workgroup per row; each invocation keeps to a run of consecutive logits, and sums are added in order of index, so
 * results repeat bit for bit. No sort: a threshold is found four bits at a time (eight passes over the row), on the bits
 * of the logit mapped so that they order like numbers. Both filters are this one search, over counts or over
 * probabilities. A row with a logit that is NaN or infinite has no next token: `NO_TOKEN` stands for it. Logits are looked at by
 * their bits, since shaders may assume that all numbers are finite.
 */
import type { Binding, DeviceFacts, KernelModule } from "../../plan/plan.ts";
import { fewLanes, tuning } from "./tuning.ts";
import { KernelWriter } from "./writer.ts";

/** Words of a row in the settings buffer. */
export const SETTINGS_WORDS = 8;

/** No token: what `next` holds where a row's logits are not all finite. */
export const NO_TOKEN = 0xffffffff;

/** One workgroup per row. The bindings, in order, are the buffers `logits`, `settings`, `position`, `next`. */
export interface SampleKernel {
  readonly module: KernelModule;
  /**
   * `logits` f32 [rows, vocab]; `settings` u32 [rows, 8]: bits of the f32 temperature, top_k, bits of the f32 top_p,
   * seed, stream, and three unused; `position` u32 [rows]: position of the token that the logits follow; `next` u32
   * [rows], written.
   */
  readonly bindings: readonly Binding[];
}

export function emitSample(vocab: number, device: DeviceFacts): SampleKernel {
  const w = new KernelWriter();
  const width = vocab % 4 === 0 ? 4 : 1;
  const units = vocab / width;
  const invocations = chooseInvocations(device);
  const buffer = (id: string): Binding => ({ kind: "buffer", id });
  const logits = w.bind(buffer("logits"), width === 4 ? "array<vec4<f32>>" : "array<f32>", "read");
  const settings = w.bind(buffer("settings"), "array<u32>", "read");
  const position = w.bind(buffer("position"), "array<u32>", "read");
  const next = w.bind(buffer("next"), "array<u32>", "write");

  /** Runs `body` for each of this invocation's logits, in order: `i` its index, `x` its value. */
  const forOwn = (body: string): string =>
    `for (var u = begin(lane); u < begin(lane + 1u); u++) {\nlet unit = ${logits}[row * ${units}u + u];\n${
      width === 1
        ? `let i = u; let x = unit;\n${body}`
        : `for (var c = 0u; c < 4u; c++) {\nlet i = u * 4u + c; let x = unit[c];\n${body}\n}`
    }\n}`;

  w.global(
    "memory",
    `var<workgroup> tally: array<array<f32, 16>, ${invocations}>;
var<workgroup> totals: array<f32, 16>;
var<workgroup> number: array<u32, ${invocations}>;
var<workgroup> found: u32;`,
  );
  w.global(
    "functions",
    `
/// What is kept: keys above \`key\`, and equal ones at indices below \`end\`.
struct Kept { key: u32, end: u32 }
struct Row { row: u32, top: f32, inverse: f32 }
fn begin(lane: u32) -> u32 { return min(lane * ${Math.ceil(units / invocations)}u, ${units}u); }
/// What \`once\` is to \`main\`.
fn single() -> u32 { return min(1u, arrayLength(&${next})); }
fn key_of(x: f32) -> u32 { let b = bitcast<u32>(x); return select(b | 0x80000000u, ~b, (b >> 31u) == 1u); }
fn weight_of(r: Row, x: f32) -> f32 { return exp((x - r.top) * r.inverse); }
fn is_kept(k: Kept, key: u32, i: u32) -> bool { return key > k.key || (key == k.key && i < k.end); }
fn hash(x: u32) -> u32 {
  let s = x * 747796405u + 2891336453u;
  let t = ((s >> ((s >> 28u) + 4u)) ^ s) * 277803737u;
  return (t >> 22u) ^ t;
}
/// Sums of one number per invocation, added in order: before this one, up to and with it, and in all.
fn sum_lanes(lane: u32, own: f32) -> vec3<f32> {
  workgroupBarrier();
  tally[lane][0] = own;
  workgroupBarrier();
  var before = 0.0;
  var after = 0.0;
  var sum = 0.0;
  for (var l = 0u; l < ${invocations}u * single(); l++) {
    if (l == lane) { before = sum; }
    sum += tally[l][0];
    if (l == lane) { after = sum; }
  }
  return vec3<f32>(before, after, sum);
}
fn mass(r: Row, lane: u32, kept: Kept) -> vec3<f32> {
  let row = r.row;
  var own = 0.0;
  ${forOwn("if (is_kept(kept, key_of(x), i)) { own += weight_of(r, x); }")}
  return sum_lanes(lane, own);
}
/// The fewest of \`kept\`, largest first, whose weights reach \`want\` > 0; a weight is 1 when counting.
fn narrow(r: Row, lane: u32, kept: Kept, counting: bool, want: f32) -> Kept {
  let row = r.row;
  var key = 0u;
  for (var shift = 28i; shift >= 0i; shift -= 4i) {
    let step = vec4<u32>(0u, 1u, 2u, 3u) << vec4<u32>(u32(shift));
    let c0 = vec4<u32>(key) | step;
    let c1 = c0 + vec4<u32>(4u << u32(shift));
    let c2 = c1 + vec4<u32>(4u << u32(shift));
    let c3 = c2 + vec4<u32>(4u << u32(shift));
    var s0 = vec4<f32>(); var s1 = vec4<f32>(); var s2 = vec4<f32>(); var s3 = vec4<f32>();
    ${forOwn(`let k = key_of(x);
    let weight = vec4<f32>(select(0.0, select(weight_of(r, x), 1.0, counting), is_kept(kept, k, i)));
    let keys = vec4<u32>(k);
    let none = vec4<f32>();
    s0 += select(none, weight, keys >= c0);
    s1 += select(none, weight, keys >= c1);
    s2 += select(none, weight, keys >= c2);
    s3 += select(none, weight, keys >= c3);`)}
    workgroupBarrier();
    tally[lane] = array<f32, 16>(s0.x, s0.y, s0.z, s0.w, s1.x, s1.y, s1.z, s1.w, s2.x, s2.y, s2.z, s2.w, s3.x, s3.y, s3.z, s3.w);
    workgroupBarrier();
    for (var j = lane; j < 16u; j += ${invocations}u) {
      var sum = 0.0;
      for (var l = 0u; l < ${invocations}u * single(); l++) { sum += tally[l][j]; }
      totals[j] = sum;
    }
    workgroupBarrier();
    var digit = 0u;
    for (var j = 1u; j < 16u * single(); j++) { if (totals[j] >= want) { digit = j; } }
    key |= digit << u32(shift);
  }
  // How many of those equal to the threshold are needed, and where the last of them stands.
  var above = 0.0;
  var equal = 0u;
  var weight = 0.0;
  ${forOwn(`let k = key_of(x);
  if (is_kept(kept, k, i)) {
    let own = select(weight_of(r, x), 1.0, counting);
    if (k > key) { above += own; }
    if (k == key) { equal += 1u; weight = own; }
  }`)}
  let more = want - sum_lanes(lane, above).z;
  number[lane] = equal;
  workgroupBarrier();
  var before = 0u;
  var all = 0u;
  for (var l = 0u; l < ${invocations}u * single(); l++) {
    if (l == lane) { before = all; }
    all += number[l];
  }
  if (equal > 0u) {
    let needed = u32(clamp(ceil(more / max(weight, 1e-30)), 1.0, f32(all)));
    if (before < needed && needed <= before + equal) {
      var seen = before;
      ${forOwn(`if (key_of(x) == key && is_kept(kept, key, i)) {
        seen += 1u;
        if (seen == needed) { found = i + 1u; }
      }`)}
    }
  }
  workgroupBarrier();
  return Kept(key, found);
}`,
  );
  const setting = (i: number): string => `${settings}[row * ${SETTINGS_WORDS}u + ${i}u]`;
  const body = `
let row = group;
if (row >= arrayLength(&${next})) { return; }
let temperature = bitcast<f32>(${setting(0)});
let top_k = ${setting(1)};
let top_p = bitcast<f32>(${setting(2)});
var best = -3.4e38;
var at = 0u;
// The greatest exponent: 255 is that of what is no number.
var exponent = 0u;
${forOwn("if (x > best) { best = x; at = i; }\nexponent = max(exponent, (bitcast<u32>(x) >> 23u) & 255u);")}
tally[lane][0] = best;
tally[lane][1] = f32(exponent);
number[lane] = at;
workgroupBarrier();
best = tally[0][0];
at = number[0];
var largest = tally[0][1];
for (var l = 1u; l < ${invocations}u * once; l++) {
  if (tally[l][0] > best) { best = tally[l][0]; at = number[l]; }
  largest = max(largest, tally[l][1]);
}
let is_finite = largest < 255.0;
if (temperature <= 0.0) {
  if (lane == 0u) { ${next}[row] = select(${NO_TOKEN}u, at, is_finite); }
  return;
}
let r = Row(row, best, 1.0 / temperature);
var kept = Kept(0u, ${vocab}u);
// First by count, then by probability, in a loop so that the search is in the module once.
for (var stage = 0u; stage < 2u * once; stage++) {
  let counting = stage == 0u;
  if (select((top_p < 1.0), (top_k > 0u) && (top_k < ${vocab}u), counting)) {
    var want = f32(top_k);
    if (!counting) { want = max(top_p * mass(r, lane, kept).z, 1e-20); }
    kept = narrow(r, lane, kept, counting, want);
  }
}
let sums = mass(r, lane, kept);
let random = f32(hash(${setting(3)} + hash(${position}[row] + hash(${setting(4)}))) >> 8u) * 5.9604644775390625e-8;
// Strictly below the sum, so that it falls into exactly one run.
let target_mass = min(random * sums.z, bitcast<f32>(bitcast<u32>(sums.z) - 1u));
if (!is_finite) {
  if (lane == 0u) { ${next}[row] = ${NO_TOKEN}u; }
} else if (sums.x <= target_mass && target_mass < sums.y) {
  var reached = sums.x;
  // Rounding within the run may leave the target unreached: then its last one.
  var choice = at;
  ${forOwn(`if (reached <= target_mass && is_kept(kept, key_of(x), i)) {
    reached += weight_of(r, x);
    choice = i;
  }`)}
  ${next}[row] = choice;
}`;
  const module = w.finish(`sample.${vocab}`, [invocations, 1, 1], body);
  return { module, bindings: w.bindings };
}

/** One subgroup on few cores, where more only take turns; else what the tallies leave room for. */
function chooseInvocations(device: DeviceFacts): number {
  if (!device.manyCores) return fewLanes(device);
  let invocations = Math.min(tuning.sample.invocations, device.maxInvocations);
  while (invocations * 17 * 4 + 256 > device.workgroupMemory) invocations /= 2;
  return invocations;
}
