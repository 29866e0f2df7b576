/**
 * Attention on a GPU: a workgroup per head and block of queries, an online softmax over tiles of positions (Milakov and
 * Gimelshein 2018, arXiv 1805.02867; tiled as in FlashAttention-2, arXiv 2307.08691). Many queries: a tile of keys passes
 * through workgroup memory, each invocation scores one position for several queries and then adds up one unit of channels
 * of the values for several queries, so that what is loaded is used by all of them. Few: a block is one query, lanes side
 * by side read a key together, and the positions of a long tile are shared out among the invocations, whose sums meet at
 * the end. Needs no feature. Queries of different sequences in one block are taken one sequence after the other.
 */
import type { DeviceFacts } from "../plan/plan.ts";
import type { AttendSpec } from "./attend.ts";
import { type ChannelUnit, float, forEachRun, isVisible, range, unitOf } from "./attend-pieces.ts";
import type { ContractKernel } from "./contract.ts";
import { tuning } from "./tuning.ts";
import { KernelWriter } from "./writer.ts";

export const attendGpu = {
  name: "attend-gpu",
  suits: (): boolean => true,
  emit(spec: AttendSpec, regime: "many" | "few", device: DeviceFacts): ContractKernel {
    return emitTiledAttend(spec, chooseTile(spec, regime, device));
  },
};

interface Tile {
  readonly invocations: number;
  /** Of a block; one in the `few` regime. */
  readonly queries: number;
  /** Of a tile. */
  readonly positions: number;
  /** Units of channels of the keys that are in workgroup memory at a time, where there are many queries. */
  readonly keyUnits: number;
  /** Queries whose values an invocation adds up. */
  readonly rows: number;
  /** Shares of a tile's positions, each with sums of its own. */
  readonly splits: number;
}

/** Lanes that read a key together where there is one query. */
const KEY_LANES = 8;
/** A line of a cache: shorter runs of a key would be read twice. */
const LEAST_KEY_UNITS = 8;
/** Most queries that an invocation adds up values for: so many vectors are in registers. */
const MOST_ROWS = 8;

/** The first tile within the device's workgroup memory. */
function chooseTile(spec: AttendSpec, regime: "many" | "few", device: DeviceFacts): Tile {
  const candidates =
    regime === "few"
      ? halves(Math.min(tuning.gpu.attendLanes, device.maxInvocations), 32).map((lanes) => fewTile(spec, lanes))
      : halves(tuning.gpu.queries, 4).flatMap((queries) =>
          halves(unitOf(spec.channels).units, LEAST_KEY_UNITS).map((units) => manyTile(spec, queries, units)),
        );
  return candidates.find((tile) => 4 * countWords(spec, tile) <= device.workgroupMemory) ?? candidates.at(-1)!;
}

/** `n`, half of it and so on, rounded up, down to `least`. */
function halves(n: number, least: number): readonly number[] {
  return n <= least ? [n] : [n, ...halves(Math.ceil(n / 2), least)];
}

function fewTile(spec: AttendSpec, invocations: number): Tile {
  const splits = Math.max(1, Math.floor(invocations / unitOf(spec.valueChannels).units));
  return { invocations, queries: 1, positions: invocations, keyUnits: 0, rows: 1, splits };
}

function manyTile(spec: AttendSpec, queries: number, keyUnits: number): Tile {
  const invocations = 128;
  const outputs = queries * unitOf(spec.valueChannels).units;
  const rows = Math.min(MOST_ROWS, queries, 2 ** Math.ceil(Math.log2(Math.max(1, outputs / invocations))));
  return { invocations, queries, positions: 32, keyUnits, rows, splits: 1 };
}

/** Words of workgroup memory that `declareMemory` takes, rounded up. */
function countWords(spec: AttendSpec, tile: Tile): number {
  const { queries, positions, invocations } = tile;
  const { width } = unitOf(spec.channels);
  const keys = queries === 1 ? KEY_LANES * (positions + 4) : positions * (tile.keyUnits + 1) * width;
  const sums = tile.splits === 1 ? 0 : 5 * invocations * countTurns(spec, tile);
  return queries * (spec.channels + positions + foldsOf(tile) + 4) + keys + sums;
}

const foldsOf = ({ positions }: Tile): number => Math.min(16, positions / 4);

/** Items of work when values are added up: a unit of channels, a few queries and a share of the positions each. */
const countItems = (spec: AttendSpec, { queries, rows, splits }: Tile): number =>
  unitOf(spec.valueChannels).units * (queries / rows) * splits;

const countTurns = (spec: AttendSpec, tile: Tile): number => Math.ceil(countItems(spec, tile) / tile.invocations);

/** What the pieces of the kernel share. */
interface Pieces {
  readonly spec: AttendSpec;
  readonly tile: Tile;
  readonly w: KernelWriter;
  readonly key: ChannelUnit;
  readonly value: ChannelUnit;
  /** Names of the bound caches. */
  readonly keys: string;
  readonly values: string;
  /** A loop that shares `count` items out among the invocations. */
  readonly strided: (name: string, count: number, body: string) => string;
}

function emitTiledAttend(spec: AttendSpec, tile: Tile): ContractKernel {
  const { invocations, queries, positions } = tile;
  const w = new KernelWriter();
  const key = unitOf(spec.channels);
  const value = unitOf(spec.valueChannels);
  const keys = w.bind(spec.keys, key.array, "read");
  const values = w.bind(spec.values, value.array, "read");
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

/** WGSL: `score`, which holds q times k, becomes the score of `place`'s query for position `p`. */
function finishScore({ spec }: Pieces): string {
  const softcap =
    spec.softcap === null
      ? ""
      : `score = ${float(spec.softcap)} * tanh(clamp(score / ${float(spec.softcap)}, -15.0, 15.0));`;
  return `score *= ${float(spec.scale)};
${softcap}
score = select(-1e30, score, p <= last && place.y == slot && ${isVisible(spec, "place.x")});`;
}

/** Rows of the cache past `last` may hold anything: the last one is read in their stead. */
const keyAt = ({ spec, key }: Pieces, p: string): string =>
  `(slot_row + min(${p}, last) % ring) * ${spec.kvHeads * key.units}u + kv_head * ${key.units}u`;

/** A position for several queries each; the odd stride spreads the keys of a tile over the banks of the memory. */
function scoreMany(pieces: Pieces): string {
  const { tile, key, keys, strided } = pieces;
  const { invocations, queries, positions, keyUnits } = tile;
  const own = range((queries * positions) / invocations);
  const stride = keyUnits + 1;
  const part = (from: number): string => {
    const count = Math.min(keyUnits, key.units - from);
    return `${strided(
      "i",
      positions * count,
      `let own_j = i / ${count}u;
let c = i % ${count}u;
tile_k[own_j * ${stride}u + c] = ${keys}[${keyAt(pieces, "base + own_j")} + ${from}u + c];`,
    )}
workgroupBarrier();
for (var c = 0u; c < ${count}u * once; c++) {
let k = tile_k[j * ${stride}u + c];
${own.map((r) => `score${r} += ${key.dot(`query[(row + ${r}u) * ${key.units}u + ${from}u + c]`, "k")};`).join("\n")}
}`;
  };
  const parts = range(Math.ceil(key.units / keyUnits)).map((i) => part(i * keyUnits));
  return `{
let j = lane % ${positions}u;
let p = base + j;
let row = lane / ${positions}u * ${own.length}u;
${own.map((r) => `var score${r} = 0.0;`).join(" ")}
${parts.join("\nworkgroupBarrier();\n")}
${own
  .map(
    (r) => `{
let place = places[row + ${r}u];
var score = score${r};
${finishScore(pieces)}
weights[((row + ${r}u) * ${positions}u + j) / 4u][j % 4u] = score;
}`,
  )
  .join("\n")}
}`;
}

/** Neighbouring lanes share a key, and what they have is added up by one; the padding keeps them in different banks. */
function scoreOne(pieces: Pieces): string {
  const { tile, key, keys, strided } = pieces;
  const { invocations, positions } = tile;
  const stride = positions + 4;
  return `for (var j = lane / ${KEY_LANES}u; j < ${positions}u * once; j += ${invocations / KEY_LANES}u) {
let at = ${keyAt(pieces, "base + j")};
var sum = 0.0;
for (var c = lane % ${KEY_LANES}u; c < ${key.units}u * once; c += ${KEY_LANES}u) { sum += ${key.dot("query[c]", `${keys}[at + c]`)}; }
dots[lane % ${KEY_LANES}u * ${stride}u + j] = sum;
}
workgroupBarrier();
${strided(
  "j",
  positions,
  `let p = base + j;
let place = places[0];
var score = ${range(KEY_LANES)
    .map((i) => `dots[${i * stride}u + j]`)
    .join(" + ")};
${finishScore(pieces)}
weights[j / 4u][j % 4u] = score;`,
)}`;
}

/** Scores to weights, in three steps with a barrier between: the largest by several invocations, by one, and the powers. */
function weigh({ tile, strided }: Pieces): readonly string[] {
  const { queries, positions } = tile;
  const folds = foldsOf(tile);
  const each = positions / 4 / folds;
  return [
    strided(
      "i",
      queries * folds,
      `var top = weights[i * ${each}u];
for (var j = 1u; j < ${each}u; j++) { top = max(top, weights[i * ${each}u + j]); }
partial_tops[i] = max(max(top.x, top.y), max(top.z, top.w));`,
    ),
    strided(
      "row",
      queries,
      `var top = tops[row];
for (var j = 0u; j < ${folds}u; j++) { top = max(top, partial_tops[row * ${folds}u + j]); }
fades[row] = exp(tops[row] - top);
tops[row] = top;`,
    ),
    strided(
      "i",
      (queries * positions) / 4,
      `let score = weights[i];
weights[i] = select(exp(score - tops[i / ${positions / 4}u]), vec4<f32>(), score <= vec4<f32>(-1e30));`,
    ),
  ];
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
  const at = (e: number): string =>
    `(slot_row + min(base + j + ${e}u, last) % ring) * ${spec.valueRow / value.width}u + kv_head * ${value.units}u + unit`;
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
  .map((e) => `let v${e} = ${values}[${at(e)}];`)
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

function storeOwn({ spec, tile, value, w }: Pieces, turn: number): string {
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
${spec.store(w, value.width, "out_token", "head", "channel", "result")}
}`,
  )
  .join("\n")}
}
}`;
}

/** One query: the sums of the shares meet, always in the same order. */
function storeSplit({ spec, tile, value, w, strided }: Pieces, turns: readonly number[]): string {
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
${spec.store(w, value.width, "out_token", "head", "channel", "result")}`,
)}`;
}
