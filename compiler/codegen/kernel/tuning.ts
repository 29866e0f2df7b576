/**
 * Tile sizes of the kernel templates, per kind of device. Software numbers were measured on Mesa lavapipe with 8-lane
 * subgroups (`bench/kernels.ts` prints them again); a load costs there about as much as fifty multiply-adds, so blocks
 * are as tall as the registers allow. The gpu numbers are the usual ones for tiles in workgroup memory, looked at on an NVIDIA H200.
 */
import type { DeviceFacts } from "../../plan/plan.ts";

/** Where a kernel keeps what its invocations share: registers of a subgroup, or workgroup memory. */
export type TileMemory = "registers" | "workgroup";

export interface Tuning {
  /** Rows per workgroup of a dense contraction, by the number of matrices multiplied together (the last for more). */
  readonly rows: readonly number[];
  /** Rows of one tile of a grouped contraction. */
  readonly tileRows: number;
  /** Rows that share a load of the weights in the `decode` regime. */
  readonly fewRows: number;
  /** Queries per workgroup of attention over many tokens. */
  readonly queries: number;
}

export const tuning: Readonly<Record<TileMemory, Tuning>> = {
  registers: { rows: [16, 16, 8], tileRows: 16, fewRows: 8, queries: 8 },
  workgroup: { rows: [64, 64, 32], tileRows: 32, fewRows: 4, queries: 32 },
};

/** Rows per workgroup for `matrices` multiplied together. */
export function rowsFor(memory: TileMemory, matrices: number): number {
  const { rows } = tuning[memory];
  return rows[Math.min(matrices, rows.length) - 1] as number;
}

/** Rows per tile that a grouped contraction on this device wants; fusion puts it into `Routing.tileRows`. */
export function tileRowsFor(device: DeviceFacts): number {
  return tuning[device.fastWorkgroupMemory ? "workgroup" : "registers"].tileRows;
}

/** Lanes of the device's subgroups where they are all alike and few, as on software adapters; else null. */
export function fixedLanes(device: DeviceFacts): number | null {
  const s = device.subgroup;
  return s !== null && s.min === s.max && [4, 8, 16].includes(s.max) ? s.max : null;
}
