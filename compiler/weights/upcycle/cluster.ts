/**
 * Balanced k-means over the rows of a matrix: Lloyd's rounds from rows drawn by a seed, where every cluster has equally many
 * rows: pairs of row and centre are taken from the nearest on while both are free. Greedy, so not the least sum of distances.
 * Holds rows × clusters distances and the centres, never the matrix.
 */
import { fillInit } from "../../language/model/init.ts";
import type { Pass } from "./pass.ts";

/** `constants`: clusters, rows, rounds, seed. Gives the rows' numbers, cluster after cluster, each in order. */
export function startClusters(constants: readonly number[], length: number): Pass {
  const [clusters, rows, rounds, seed] = constants as readonly [number, number, number, number];
  const width = length / rows;
  const first = new Int32Array(rows).fill(-1);
  drawIndices(rows, seed)
    .subarray(0, clusters)
    .forEach((row, cluster) => (first[row] = cluster));
  return findCentres(first, { clusters, rows, width }, rounds);
}

interface Matrix {
  readonly clusters: number;
  readonly rows: number;
  readonly width: number;
}

/** The numbers below `size` in an order that the seed and the key decide. */
export function drawIndices(size: number, seed: number, key = ""): Int32Array {
  const draws = new Float64Array(size);
  fillInit({ kind: "uniform", bound: 1, seed }, `order ${key}`, 0, draws);
  return Int32Array.from(Array.from(draws.keys()).sort((a, b) => draws[a]! - draws[b]! || a - b));
}

/** Means of the rows of every cluster; rows of cluster -1 count nowhere. */
function findCentres(member: Int32Array, matrix: Matrix, rounds: number): Pass {
  const { clusters, width } = matrix;
  const sums = new Float64Array(clusters * width);
  const counts = new Float64Array(clusters);
  for (const cluster of member) if (cluster >= 0) counts[cluster]!++;
  return {
    add(at, [x]) {
      for (let i = 0; i < x!.length; i++) {
        const cluster = member[Math.floor((at + i) / width)]!;
        if (cluster >= 0) sums[cluster * width + ((at + i) % width)]! += x![i]!;
      }
    },
    end: () =>
      findMembers(
        sums.map((sum, i) => sum / counts[Math.floor(i / width)]!),
        member,
        matrix,
        rounds,
      ),
  };
}

function findMembers(centres: Float64Array, before: Int32Array, matrix: Matrix, rounds: number): Pass {
  const { clusters, rows, width } = matrix;
  const distances = new Float64Array(rows * clusters);
  return {
    add(at, [x]) {
      for (let i = 0; i < x!.length; i++) {
        const row = Math.floor((at + i) / width);
        const column = (at + i) % width;
        for (let c = 0; c < clusters; c++)
          distances[row * clusters + c]! += (x![i]! - centres[c * width + column]!) ** 2;
      }
    },
    end: () => {
      const member = assignEvenly(distances, rows, clusters);
      const settled = member.every((cluster, row) => cluster === before[row]);
      return settled || rounds <= 1 ? orderOf(member, clusters) : findCentres(member, matrix, rounds - 1);
    },
  };
}

function assignEvenly(distances: Float64Array, rows: number, clusters: number): Int32Array {
  const pairs = Uint32Array.from(distances.keys()).sort((a, b) => distances[a]! - distances[b]! || a - b);
  const member = new Int32Array(rows).fill(-1);
  const room = new Int32Array(clusters).fill(rows / clusters);
  for (const pair of pairs) {
    const [row, cluster] = [Math.floor(pair / clusters), pair % clusters];
    if (member[row] !== -1 || room[cluster] === 0) continue;
    member[row] = cluster;
    room[cluster]!--;
  }
  return member;
}

function orderOf(member: Int32Array, clusters: number): readonly number[] {
  const rows = Array.from(member.keys());
  return Array.from({ length: clusters }, (_, c) => rows.filter((row) => member[row] === c)).flat();
}
