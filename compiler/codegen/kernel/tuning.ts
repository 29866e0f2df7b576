/**
 * The numbers of kernels that are chosen and do not follow from anything: tiles, invocations side by side, bounds. All of them are here, a row each;
 * beside a template's are what it is chosen for and what its numbers were measured on. _lavapipe_ is Mesa's software adapter with subgroups of
 * 8 lanes: a load costs there about as much as fifty multiply-adds, so blocks are as tall as registers allow. _H200_ is NVIDIA's; numbers
 * that are _usual_ are those that such kernels have elsewhere, and were looked at there, not searched. `bench/kernels.ts` prints times again.
 */
import type { DeviceFacts } from "../../plan/plan.ts";

/** Numbers of lanes at which a subgroup is broadcast in: all alike on a device, and few enough to be unrolled. */
const BROADCAST_LANES: readonly number[] = [4, 8, 16];

export const tuning = {
  /** Invocations of a workgroup on few cores whose subgroups are not known: as many as lavapipe has lanes. */
  fewLanes: 8,

  /** Dense and grouped products of many rows where workgroup memory is fast: the tiled product. Usual; H200. */
  rowsGpu: {
    /** Rows of a workgroup, by the number of matrices multiplied together (the last for more). */
    rows: [64, 64, 32],
    /** Rows of a tile of one bank, which kernels may cut further. */
    tileRows: 32,
    /** Vectors of four columns of a workgroup. */
    vectors: 16,
    /** Rows of an invocation; divides every number of rows above. */
    ownRows: 8,
    /** Quads of k that pass through workgroup memory at a time. */
    quads: 4,
  },

  /** The same where workgroup memory is slow and subgroups are small and alike: rows by broadcast. lavapipe. */
  rowsSoftware: {
    /** Rows of a workgroup, as above; never fewer than there are lanes. */
    rows: [16, 16, 8],
    /** Rows of a tile of one bank, also where rows are not broadcast. */
    tileRows: 16,
  },

  /** The same anywhere, where neither suits. Not measured: the simplest, to check the others against. */
  rowsPlain: {
    /** Rows of an invocation, the first that cuts tiles evenly. */
    rows: [8, 4, 2, 1],
    /** Of a workgroup, side by side over columns. */
    invocations: 32,
  },

  /** Products over tokens where workgroup memory is fast. As the tiled product of many rows; not searched. */
  outerGpu: {
    /** Vectors of four rows, and of four columns, of a tile. */
    vectors: 16,
    /** Rows of an invocation: two vectors. */
    ownRows: 8,
    /** Tokens that pass through workgroup memory at a time. */
    tokens: 16,
    /** Tokens are divided where there are fewer workgroups than this, */
    workgroups: 256,
    /** into so many parts at most. */
    parts: 16,
  },

  /** The same where workgroup memory is slow and subgroups are small and alike. lavapipe: as fast as `rowsSoftware`. */
  outerSoftware: {
    /** Rows of a workgroup; never fewer than there are lanes. */
    rows: 16,
    /** Tokens of a round, which divide the lanes of a load: with eight it was about a third as fast. */
    tokens: 4,
  },

  /** The same anywhere, where neither suits. Not measured: the simplest, to check the others against. */
  outerPlain: {
    /** Rows of an invocation. */
    rows: 8,
    /** Of a workgroup, side by side over columns. */
    invocations: 32,
  },

  /** Products of one to a few rows where workgroup memory is fast. H200: half as many invocations took a third longer for experts. */
  decodeGpu: {
    /** Of a workgroup, over columns and shares of k. */
    invocations: 256,
    /** Vectors of four columns side by side: a line of memory. */
    columns: 8,
    /** The same where that would leave multiprocessors without a workgroup: */
    fewColumns: 4,
    /** where there are fewer workgroups than this. */
    fewestWorkgroups: 128,
    /** Rows that share a load of the weights, as many as workgroup memory has room for. */
    rows: 4,
    /** Steps of k whose loads are under way together, for one row. */
    ahead: 2,
  },

  /** The same where it is slow: a workgroup is a subgroup, which streams the weights. lavapipe. */
  decodeSoftware: {
    /** Rows that share a load of the weights; never fewer than there are lanes. */
    rows: 8,
    /** Vectors of four columns side by side where lanes are not known, */
    columns: 8,
    /** and rows then: without broadcast each costs every invocation a load of its own. */
    plainRows: 4,
  },

  /** Sorting a token's choices by bank, in one workgroup, before a grouped product. */
  group: {
    /** Runs of choices, an invocation each, on many cores, where the counts leave room. Not searched. */
    runs: 128,
  },

  /** Attention, where workgroup memory is fast or lanes are not known: tiles of positions. H200. */
  attendGpu: {
    /** Queries of a workgroup in prefill, halved until the tile has room in workgroup memory, */
    queries: 32,
    /** down to so many. */
    leastQueries: 4,
    /** Invocations of a workgroup in prefill. */
    invocations: 128,
    /** Positions of a tile in prefill. */
    positions: 32,
    /** Units of channels of a key that pass through workgroup memory at a time, at least: a line of a cache; shorter runs would be read twice. */
    leastKeyUnits: 8,
    /** Most queries that an invocation adds up values for: so many vectors are in registers. */
    rows: 8,
    /** For one query, which reads a long cache: more invocations hide its latency; halved for room, */
    decodeInvocations: 512,
    /** down to so many. */
    leastDecodeInvocations: 32,
    /** Lanes that read a key together where there is one query. */
    keyLanes: 8,
    /** Most invocations that look for the largest score of a query together. */
    folds: 16,
  },

  /** The same in a subgroup, where workgroup memory is slow. lavapipe. */
  attendSoftware: {
    /** Queries of a workgroup in prefill; never more than there are lanes, */
    queries: 8,
    /** and halved while a lane has more outputs than this: it runs out of registers. */
    outputs: 32,
  },

  /** Attention's gradient, where workgroup memory is fast or lanes are not known: tiles of pairs. As attention's tiles; not searched. */
  attendGradGpu: {
    /** Of a workgroup. */
    invocations: 128,
    /** Tokens of a workgroup, queries or keys, whose results it has; halved for room in workgroup memory, */
    owners: 32,
    /** down to so many. */
    leastOwners: 4,
    /** Tokens of the other side in a tile. */
    others: 32,
    /** Units of channels that pass through workgroup memory at a time. */
    units: 8,
    /** Most owners that an invocation adds up for: so many vectors are in registers. */
    rows: 8,
  },

  /** The same in a subgroup, where workgroup memory is slow. lavapipe. */
  attendGradSoftware: {
    /** Tokens of a workgroup, queries or keys, whose results it has; never more than there are lanes, */
    owners: 8,
    /** and halved while a lane has more sums than this: it runs out of registers. */
    sums: 32,
  },

  /** The delta rule by chunks of tokens, in prefill. Not searched: the largest tile that has room in workgroup memory. */
  deltaChunked: {
    /** Of a workgroup. */
    invocations: 64,
    /** Tokens of a chunk, halved for room, */
    tokens: 16,
    /** down to so many. */
    leastTokens: 4,
    /** Columns of the memory of a workgroup, halved for room, */
    columns: 32,
    /** down to so many. */
    leastColumns: 8,
  },

  /** The delta rule token by token, when decoding. Not searched. */
  deltaRecurrent: {
    /** Columns of the memory of a workgroup, an invocation each. */
    columns: 32,
  },

  /** The next token of each row of logits. */
  sample: {
    /** Of a workgroup, on many cores, halved until their tallies have room. Not searched. */
    invocations: 256,
  },

  /** Rows that are added up where an index says: a workgroup has some rows of the result, an invocation four columns of them. Not searched. */
  spread: {
    /** Of a workgroup, on many cores. */
    invocations: 64,
    /** Rows of a workgroup, which walks over the whole index for them. */
    rows: 64,
  },

  /** Whatever is neither a product nor a row: an element, or four, for each invocation. */
  map: {
    /** Of a workgroup. Usual. */
    invocations: 64,
  },

  /** A norm, a router's choice: a workgroup for each row, where workgroup memory is fast. */
  row: {
    /** Of a workgroup with a product in it, whose matrix it reads for one row: nothing else hides the latency of that. H200. */
    productInvocations: 1024,
    /** Of another, by the least width of its widest row. Usual; H200. */
    invocations: [
      { width: 2048, count: 256 },
      { width: 512, count: 128 },
      { width: 0, count: 64 },
    ],
    /** Most shares of k of a product in it, which are added up in one expression. H200. */
    slices: 64,
  },

  /** Recurrences, a channel for each invocation. Not searched. */
  scan: {
    /** Of a workgroup. */
    invocations: 64,
    /** Shares of a sequence's tokens in prefill on many cores, with an invocation each. */
    segments: 16,
  },

  /** The norm of all gradients. Not searched. */
  norm: {
    /** Of a gradient's sum, a partial sum each. */
    workgroups: 64,
    /** Of a workgroup. */
    invocations: 64,
  },

  /** Which nodes have a kernel and which are computed in another's. Chosen by what kernels do, not by times. */
  schedule: {
    /** Columns of a product inside a row's kernel, at most, */
    smallColumns: 256,
    /** and its weights, which are read again for every row. */
    smallWeights: { decode: 1 << 20, prefill: 1 << 15 },
    /** Elements of a list in workgroup memory: a row that is longer is read again. */
    list: 2048,
    /** Elements of a product over tokens with a kernel of its own, at least: below, a loop for each does as well. */
    overTokens: 64,
    /** Banks that it may have a sum for each of, at most: the counts of their choices have to fit into workgroup memory. */
    banks: 1024,
    /** A sum is a loop of its result's elements when a token has so many times as many of them as each has terms; else a row's. */
    columnsPerTerm: 4,
    /** Numbers of a row, at least, that may be kept in 16 bits between kernels: fewer are few bytes, and much may follow from each. */
    narrow: 32,
    /** Maps that an epilogue takes in, at most. */
    epilogue: 48,
    /** Times that a light value is computed for one element of another before it is left in memory. */
    times: 64,
    /** Light nodes one behind the other: code is written by a walk on the call stack, and compilers of shaders have stacks of their own. */
    depth: 256,
  },
} as const;

/** The number of `rows` for `matrices` multiplied together. */
export function rowsFor(rows: readonly number[], matrices: number): number {
  return rows[Math.min(matrices, rows.length) - 1] as number;
}

/** Rows per tile that a grouped contraction on this device wants; fusion puts it into `Routing.tileRows`. */
export function tileRowsFor(device: DeviceFacts): number {
  return (device.fastWorkgroupMemory ? tuning.rowsGpu : tuning.rowsSoftware).tileRows;
}

/** Lanes of the device's subgroups where they are all alike and few, as on software adapters; else null. */
export function fixedLanes(device: DeviceFacts): number | null {
  const s = device.subgroup;
  return s !== null && s.min === s.max && BROADCAST_LANES.includes(s.max) ? s.max : null;
}

/** Invocations of a workgroup that is no more than one subgroup, where more would only take turns. */
export function fewLanes(device: DeviceFacts): number {
  return fixedLanes(device) ?? tuning.fewLanes;
}
