/**
 * Scores of attention on a GPU and what they weigh, as pieces of the kernel in `attend-gpu.ts`: a tile of positions, for many queries or
 * for one.
 */
import type { AttendSpec } from "./attend.ts";
import { cacheAt, type ChannelUnit, float, isVisible, keyRow, range } from "./attend-pieces.ts";
import { foldsOf, KEY_LANES, type Tile } from "./attend-tile.ts";
import type { KernelWriter } from "../writer.ts";

/** What the pieces of the kernel share. */
export interface Pieces {
  readonly spec: AttendSpec;
  readonly tile: Tile;
  readonly w: KernelWriter;
  readonly key: ChannelUnit;
  readonly value: ChannelUnit;
  /** A unit of channels out of the caches. */
  readonly keys: (unit: string) => string;
  readonly values: (unit: string) => string;
  /** A loop that shares `count` items out among the invocations. */
  readonly strided: (name: string, count: number, body: string) => string;
}

/** WGSL: `score`, which holds q times k, becomes the score of `place`'s query for position `p`. */
function finishScore({ w, spec }: Pieces): string {
  if (spec.softcap !== null) w.use("moe_tanh");
  const softcap =
    spec.softcap === null ? "" : `score = ${float(spec.softcap)} * moe_tanh(score / ${float(spec.softcap)});`;
  return `score *= ${float(spec.scale)};
${softcap}
score = select(-1e30, score, p <= last && place.y == slot && ${isVisible(spec, "place.x")});`;
}

const keyAt = ({ spec, key }: Pieces, p: string): string => cacheAt(p, keyRow(spec, key), key.units);

/** A position for several queries each; the odd stride spreads the keys of a tile over the banks of the memory. */
export function scoreMany(pieces: Pieces): string {
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
tile_k[own_j * ${stride}u + c] = ${keys(`${keyAt(pieces, "base + own_j")} + ${from}u + c`)};`,
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
export function scoreOne(pieces: Pieces): string {
  const { tile, key, keys, strided } = pieces;
  const { invocations, positions } = tile;
  const stride = positions + 4;
  return `for (var j = lane / ${KEY_LANES}u; j < ${positions}u * once; j += ${invocations / KEY_LANES}u) {
let at = ${keyAt(pieces, "base + j")};
var sum = 0.0;
for (var c = lane % ${KEY_LANES}u; c < ${key.units}u * once; c += ${KEY_LANES}u) { sum += ${key.dot("query[c]", keys("at + c"))}; }
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
export function weigh({ tile, strided }: Pieces): readonly string[] {
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
