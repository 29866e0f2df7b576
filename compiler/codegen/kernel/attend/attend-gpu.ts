/**
 * Attention on a GPU: a workgroup per head and block of queries, an online softmax over tiles of positions (Milakov and
 * Gimelshein 2018, arXiv 1805.02867; tiled as in FlashAttention-2, arXiv 2307.08691). Many queries: a tile of keys passes
 * through workgroup memory, each invocation scores one position for several queries and then adds up one unit of channels
 * of the values for several queries, so that what is loaded is used by all of them. Few: a block is one query, lanes side
 * by side read a key together, and the positions of a long tile are shared out among the invocations, whose sums meet at
 * the end. Needs no feature. Queries of different sequences in one block are taken one sequence after the other.
 */
import type { DeviceFacts } from "../../../plan/plan.ts";
import type { AttendSpec } from "./attend.ts";
import { cacheAt, forEachRun, range, unitOf, valueRow } from "./attend-pieces.ts";
import { type Pieces, scoreMany, scoreOne, weigh } from "./attend-scores.ts";
import { chooseTile, countTurns, foldsOf, KEY_LANES, type Tile } from "./attend-tile.ts";
import type { EmittedKernel } from "../contraction/contraction.ts";
import { KernelWriter } from "../writer.ts";

export const attendGpu = {
  name: "attend-gpu",
  suits: (): boolean => true,
  emit(spec: AttendSpec, regime: "prefill" | "decode", device: DeviceFacts): EmittedKernel {
    return emitTiledAttend(spec, chooseTile(spec, regime, device));
  },
};

function emitTiledAttend(spec: AttendSpec, tile: Tile): EmittedKernel {
  const { invocations, queries, positions } = tile;
  const w = new KernelWriter();
  const key = unitOf(spec.channels);
  const value = unitOf(spec.valueChannels);
  const keys = spec.keys(w, key.width);
  const values = spec.values(w, value.width);
  const position = w.bind(spec.position, "array<u32>", "read");
  const slotOf = w.bind(spec.slot, "array<u32>", "read");
  const strided = (name: string, count: number, body: string): string =>
    `for (var ${name} = lane; ${name} < ${count}u * once; ${name} += ${invocations}u) {\n${body}\n}`;
  const pieces: Pieces = { spec, tile, w, key, value, keys, values, strided };
  declareMemory(pieces);
  const turns = range(countTurns(spec, tile));
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
${turns.map((t) => declareSums(pieces, t)).join("\n")}
workgroupBarrier();
${forEachRun(
  w,
  spec,
  position,
  slotOf,
  positions,
  [
    queries === 1 ? scoreOne(pieces) : scoreMany(pieces),
    ...weigh(pieces),
    turns.map((t) => accumulate(pieces, t)).join("\n"),
    "",
  ].join("\nworkgroupBarrier();\n"),
)}
${tile.splits === 1 ? turns.map((t) => storeOwn(pieces, t)).join("\n") : storeSplit(pieces, turns)}`;
  const module = w.finish(spec.id, [invocations, 1, 1], body);
  return {
    module,
    grid: [["*", ["ceil", spec.rows, queries], spec.heads], 1, 1],
    bindings: w.bindings,
    constants: w.constants,
  };
}

function declareMemory({ spec, tile, w, key, value }: Pieces): void {
  const { invocations, queries, positions } = tile;
  const sums = invocations * countTurns(spec, tile);
  w.global(
    "memory",
    `var<workgroup> query: array<${key.type}, ${queries * key.units}>;
var<workgroup> weights: array<vec4<f32>, ${(queries * positions) / 4}>;
var<workgroup> places: array<vec2<u32>, ${queries}>;
var<workgroup> tops: array<f32, ${queries}>;
var<workgroup> partial_tops: array<f32, ${queries * foldsOf(tile)}>;
var<workgroup> fades: array<f32, ${queries}>;
${
  queries === 1
    ? `var<workgroup> dots: array<f32, ${KEY_LANES * (positions + 4)}>;`
    : `var<workgroup> tile_k: array<${key.type}, ${positions * (tile.keyUnits + 1)}>;`
}
${
  tile.splits === 1
    ? ""
    : `var<workgroup> partial_sums: array<f32, ${sums}>;
var<workgroup> partial: array<${value.type}, ${sums}>;`
}`,
  );
}

/** A sink is the largest score so far, counted once, by the first share. */
function declareSums({ spec, tile, value }: Pieces, turn: number): string {
  const { invocations, splits, rows, queries } = tile;
  const outputs = value.units * (queries / rows);
  const first =
    spec.sink === null ? "0.0" : splits === 1 ? "1.0" : `select(0.0, 1.0, lane + ${turn * invocations}u < ${outputs}u)`;
  return range(rows)
    .map((r) => `var mix${turn}_${r} = ${value.type}(); var total${turn}_${r} = ${first};`)
    .join("\n");
}

/** A unit of channels for a few queries, over a share of the tile, four positions at a time. */
function accumulate({ spec, tile, value, values }: Pieces, turn: number): string {
  const { invocations, queries, positions, rows, splits } = tile;
  const outputs = value.units * (queries / rows);
  const share = 4 * Math.ceil(positions / splits / 4);
  const own = range(rows);
  const at = (e: number): string => `${cacheAt(`base + j + ${e}u`, valueRow(spec, value), value.units)} + unit`;
  return `{
let i = lane + ${turn * invocations}u;
if (i < ${outputs * splits}u) {
let unit = i % ${value.units}u;
let row = i / ${value.units}u % ${queries / rows}u * ${rows}u;
let from_j = i / ${outputs}u * ${share}u;
let to_j = min(min(from_j + ${share}u, ${positions}u), last + 1u - base);
${own.map((r) => `mix${turn}_${r} *= fades[row + ${r}u]; total${turn}_${r} *= fades[row + ${r}u];`).join("\n")}
for (var j = from_j; j < to_j; j += 4u) {
${range(4)
  .map((e) => `let v${e} = ${values(at(e))};`)
  .join("\n")}
${own
  .map(
    (r) => `{
let weight = weights[((row + ${r}u) * ${positions}u + j) / 4u];
total${turn}_${r} += weight.x + weight.y + weight.z + weight.w;
mix${turn}_${r} = ${["x", "y", "z", "w"].reduce((sum, c, e) => `fma(${value.type}(weight.${c}), v${e}, ${sum})`, `mix${turn}_${r}`)};
}`,
  )
  .join("\n")}
}
}
}`;
}

/** By whoever stores a query's first channel. */
function storeLogsum({ spec, w }: Pieces, top: string, total: string): string {
  if (spec.storeLogsum === null) return "";
  return `let logsum = ${top} + log(${total});\nif (channel == 0u) { ${spec.storeLogsum(w, "out_token", "head")} }`;
}

function storeOwn(pieces: Pieces, turn: number): string {
  const { spec, tile, value, w } = pieces;
  const { invocations, queries, rows } = tile;
  return `{
let i = lane + ${turn * invocations}u;
if (i < ${value.units * (queries / rows)}u) {
let channel = i % ${value.units}u * ${value.width}u;
let row = i / ${value.units}u * ${rows}u;
${range(rows)
  .map(
    (r) => `if (row + ${r}u < count) {
let out_token = token + row + ${r}u;
let result = mix${turn}_${r} / total${turn}_${r};
${storeLogsum(pieces, `tops[row + ${r}u]`, `total${turn}_${r}`)}
${spec.store(w, value.width, "out_token", "head", "channel", "result")}
}`,
  )
  .join("\n")}
}
}`;
}

/** One query: the sums of the shares meet, always in the same order. */
function storeSplit(pieces: Pieces, turns: readonly number[]): string {
  const { spec, tile, value, w, strided } = pieces;
  const { invocations, splits } = tile;
  return `${turns.map((t) => `partial[lane + ${t * invocations}u] = mix${t}_0; partial_sums[lane + ${t * invocations}u] = total${t}_0;`).join("\n")}
workgroupBarrier();
${strided(
  "i",
  value.units,
  `var sum = ${value.type}();
var total = 0.0;
for (var s = 0u; s < ${splits}u; s++) {
sum += partial[s * ${value.units}u + i];
total += partial_sums[s * ${value.units}u + i];
}
let out_token = token;
let channel = i * ${value.width}u;
let result = sum / total;
${storeLogsum(pieces, "tops[0]", "total")}
${spec.store(w, value.width, "out_token", "head", "channel", "result")}`,
)}`;
}
