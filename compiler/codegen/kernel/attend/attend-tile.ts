/**
 * The tile of attention on a GPU: how many queries a workgroup takes, how many positions at a time, and what each invocation adds up, the
 * first choice within the device's workgroup memory.
 */
import type { DeviceFacts } from "../../../plan/plan.ts";
import type { AttendSpec } from "./attend.ts";
import { unitOf } from "./attend-pieces.ts";
import { tuning } from "../tuning.ts";

export interface Tile {
  readonly invocations: number;
  /** Of a block; one in the `decode` regime. */
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
export const KEY_LANES = tuning.attendGpu.keyLanes;

/** The first tile within the device's workgroup memory. */
export function chooseTile(spec: AttendSpec, regime: "prefill" | "decode", device: DeviceFacts): Tile {
  const { queries: most, leastQueries, leastKeyUnits, decodeInvocations, leastDecodeInvocations } = tuning.attendGpu;
  const candidates =
    regime === "decode"
      ? halves(Math.min(decodeInvocations, device.maxInvocations), leastDecodeInvocations).map((lanes) =>
          fewTile(spec, lanes),
        )
      : halves(most, leastQueries).flatMap((queries) =>
          halves(unitOf(spec.channels).units, leastKeyUnits).map((units) => manyTile(spec, queries, units)),
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
  const { invocations, positions, rows: most } = tuning.attendGpu;
  const outputs = queries * unitOf(spec.valueChannels).units;
  const rows = Math.min(most, queries, 2 ** Math.ceil(Math.log2(Math.max(1, outputs / invocations))));
  return { invocations, queries, positions, keyUnits, rows, splits: 1 };
}

/** Words of workgroup memory that `declareMemory` takes, rounded up. */
function countWords(spec: AttendSpec, tile: Tile): number {
  const { queries, positions, invocations } = tile;
  const { width } = unitOf(spec.channels);
  const keys = queries === 1 ? KEY_LANES * (positions + 4) : positions * (tile.keyUnits + 1) * width;
  const sums = tile.splits === 1 ? 0 : (4 + 1) * invocations * countTurns(spec, tile);
  return queries * (spec.channels + positions + foldsOf(tile) + 4) + keys + sums;
}

export const foldsOf = ({ positions }: Tile): number => Math.min(tuning.attendGpu.folds, positions / 4);

/** Items of work when values are added up: a unit of channels, a few queries and a share of the positions each. */
const countItems = (spec: AttendSpec, { queries, rows, splits }: Tile): number =>
  unitOf(spec.valueChannels).units * (queries / rows) * splits;

export const countTurns = (spec: AttendSpec, tile: Tile): number =>
  Math.ceil(countItems(spec, tile) / tile.invocations);
