/**
 * Attention on a GPU: a workgroup per head and block of queries, online softmax over tiles of positions. Queries lie in
 * workgroup memory; each invocation scores a few (query, position) pairs, then the same invocations, by channel, add up
 * the values. In the `few` regime the block is one query and the tile is long, so that a long cache keeps every
 * invocation busy. Needs no feature. Queries of different sequences in one block are taken one sequence after the other.
 */
import type { DeviceFacts } from "../plan/plan.ts";
import type { AttendSpec } from "./attend.ts";
import { float, forEachRun, isVisible, unitOf } from "./attend-pieces.ts";
import type { ContractKernel } from "./contract.ts";
import { tuning } from "./tuning.ts";
import { KernelWriter } from "./writer.ts";

const INVOCATIONS = 128;

export const attendGpu = {
  name: "attend-gpu",
  suits: (): boolean => true,
  emit(spec: AttendSpec, regime: "many" | "few", device: DeviceFacts): ContractKernel {
    return emitTiledAttend(spec, chooseTile(spec, regime, device));
  },
};

interface Tile {
  readonly queries: number;
  readonly positions: number;
}

/** Queries per block and positions per tile, within the device's workgroup memory. */
function chooseTile(spec: AttendSpec, regime: "many" | "few", device: DeviceFacts): Tile {
  const words = (t: Tile): number =>
    t.queries * (spec.channels + t.positions + 24) +
    5 * Math.max(INVOCATIONS, (t.queries * spec.valueChannels) / 4) +
    INVOCATIONS * 5;
  let tile: Tile =
    regime === "few" ? { queries: 1, positions: INVOCATIONS } : { queries: tuning.gpu.queries, positions: 32 };
  while (tile.queries > 1 && words(tile) * 4 > device.workgroupMemory) tile = { ...tile, queries: tile.queries / 2 };
  return tile;
}

function emitTiledAttend(spec: AttendSpec, { queries, positions }: Tile): ContractKernel {
  const w = new KernelWriter();
  const key = unitOf(spec.channels);
  const value = unitOf(spec.valueChannels);
  const keys = w.bind(spec.keys, key.array, "read");
  const values = w.bind(spec.values, value.array, "read");
  const position = w.bind(spec.position, "array<u32>", "read");
  const slotOf = w.bind(spec.slot, "array<u32>", "read");
  // For the values an invocation is one (query, unit of channels, share of the tile); what does not fit takes turns.
  const outputs = queries * value.units;
  const splits = Math.max(1, Math.min(positions, Math.floor(INVOCATIONS / outputs)));
  const turns = Math.ceil((outputs * splits) / INVOCATIONS);
  const share = Math.ceil(positions / splits);
  const folds = Math.min(16, positions / 4);
  w.global(
    "memory",
    `var<workgroup> query: array<${key.type}, ${queries * key.units}>;
var<workgroup> weights: array<f32, ${queries * positions}>;
var<workgroup> places: array<vec2<u32>, ${queries}>;
var<workgroup> tops: array<f32, ${queries}>;
var<workgroup> partial_tops: array<f32, ${queries * folds}>;
var<workgroup> fades: array<f32, ${queries}>;
var<workgroup> partial_sums: array<f32, ${INVOCATIONS * turns}>;
var<workgroup> partial: array<${value.type}, ${INVOCATIONS * turns}>;`,
  );
  const strided = (name: string, count: number, body: string): string =>
    `for (var ${name} = lane; ${name} < ${count}u; ${name} += ${INVOCATIONS}u) {\n${body}\n}`;
  const softcap =
    spec.softcap === null
      ? ""
      : `score = ${float(spec.softcap)} * tanh(clamp(score / ${float(spec.softcap)}, -15.0, 15.0));`;
  const visible = `place.y == slot && ${isVisible(spec, "place.x")}`;
  const scores = strided(
    "i",
    queries * positions,
    `let row = i / ${positions}u;
let p = base + i % ${positions}u;
let place = places[row];
var score = -1e30;
if (${visible}) {
  let at = (slot_row + p % ring) * ${spec.kvHeads * key.units}u + kv_head * ${key.units}u;
  score = 0.0;
  for (var c = 0u; c < ${key.units}u; c++) { score += ${key.dot(`query[row * ${key.units}u + c]`, `${keys}[at + c]`)}; }
  score *= ${float(spec.scale)};
  ${softcap}
}
weights[i] = score;`,
  );
  // The largest of a row of scores in two steps, by several invocations and then by one.
  const fold = strided(
    "i",
    queries * folds,
    `var top = -1e30;
for (var j = 0u; j < ${positions / folds}u; j++) { top = max(top, weights[i * ${positions / folds}u + j]); }
partial_tops[i] = top;`,
  );
  const softmax = strided(
    "row",
    queries,
    `var top = tops[row];
for (var j = 0u; j < ${folds}u; j++) { top = max(top, partial_tops[row * ${folds}u + j]); }
fades[row] = exp(tops[row] - top);
tops[row] = top;`,
  );
  const exponents = strided(
    "i",
    queries * positions,
    `let score = weights[i];
weights[i] = select(exp(score - tops[i / ${positions}u]), 0.0, score <= -1e30);`,
  );
  const accumulate = Array.from(
    { length: turns },
    (_, t) => `{
let i = lane + ${t * INVOCATIONS}u;
if (i < ${outputs * splits}u) {
  let row = i / ${value.units}u % ${queries}u;
  let unit = i % ${value.units}u;
  let from_j = i / ${outputs}u * ${share}u;
  let to_j = min(min(from_j + ${share}u, ${positions}u), last + 1u - base);
  var sum = out${t} * fades[row];
  var total = total${t} * fades[row];
  for (var j = from_j; j < to_j; j++) {
    let at = (slot_row + (base + j) % ring) * ${spec.valueRow / value.width}u + kv_head * ${value.units}u;
    let weight = weights[row * ${positions}u + j];
    total += weight;
    sum = fma(${value.type}(weight), ${values}[at + unit], sum);
  }
  out${t} = sum;
  total${t} = total;
}
}`,
  ).join("\n");
  // A sink is the largest score so far, counted once by the first share.
  const first = (turn: number): string =>
    spec.sink === null ? "0.0" : `select(0.0, 1.0, lane + ${turn * INVOCATIONS}u < ${outputs}u)`;
  const body = `
let blocks = (${w.step("T")} + ${queries - 1}u) / ${queries}u;
let head = group / blocks;
if (head >= ${spec.heads}u) { return; }
let token = group % blocks * ${queries}u;
let count = min(${queries}u, ${w.step("T")} - token);
let kv_head = ${spec.kvHeadOf("head")};
let ring = ${spec.ring(w)};
${strided(
  "i",
  queries * key.units,
  `let q_token = token + min(i / ${key.units}u, count - 1u);
let q_channel = i % ${key.units}u * ${key.width}u;
query[i] = ${spec.q(w, key.width, "q_token", "head", "q_channel")};`,
)}
${strided(
  "row",
  queries,
  `let at = token + min(row, count - 1u);
places[row] = vec2<u32>(${position}[at], ${slotOf}[at]);
tops[row] = ${spec.sink === null ? "-1e30" : spec.sink(w, "head")};`,
)}
${Array.from({ length: turns }, (_, t) => `var out${t} = ${value.type}(); var total${t} = ${first(t)};`).join("\n")}
workgroupBarrier();
${forEachRun(
  spec,
  position,
  slotOf,
  positions,
  `    ${scores}
    workgroupBarrier();
    ${fold}
    workgroupBarrier();
    ${softmax}
    workgroupBarrier();
    ${exponents}
    workgroupBarrier();
    ${accumulate}
    workgroupBarrier();`,
)}
${Array.from({ length: turns }, (_, t) => `partial[lane + ${t * INVOCATIONS}u] = out${t}; partial_sums[lane + ${t * INVOCATIONS}u] = total${t};`).join("\n")}
workgroupBarrier();
${strided(
  "i",
  outputs,
  `let row = i / ${value.units}u;
if (row < count) {
  var sum = ${value.type}();
  var total = 0.0;
  for (var s = 0u; s < ${splits}u; s++) {
    sum += partial[s * ${outputs}u + i];
    total += partial_sums[s * ${outputs}u + i];
  }
  let out_token = token + row;
  let channel = i % ${value.units}u * ${value.width}u;
  let result = sum / total;
  ${spec.store(w, value.width, "out_token", "head", "channel", "result")}
}`,
)}`;
  const module = w.finish(spec.id, [INVOCATIONS, 1, 1], body);
  return {
    module,
    grid: [["*", ["ceil", spec.rows, queries], spec.heads], 1, 1],
    bindings: w.bindings,
    constants: w.constants,
  };
}
