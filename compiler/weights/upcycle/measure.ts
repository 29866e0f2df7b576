/**
 * Numbers of whole tensors. A measure reads its inputs, chunk by chunk in order, in one or more passes; no cut into chunks
 * shows in what it finds. Sums are float64. Magnitudes are compared as float32, in which an executor has them.
 */
import { startClusters } from "./cluster.ts";
import type { Pass } from "./pass.ts";

interface Measure {
  readonly start: (constants: readonly number[], length: number) => Pass;
  /** How often the inputs are read, at most. */
  readonly passes: (constants: readonly number[]) => number;
}

const once = (): number => 1;

export const MEASURES = {
  /** Mean and standard deviation. */
  moments: { start: startMoments, passes: once },
  /** Of two inputs: |a|², a·b, |b|². */
  products: { start: startProducts, passes: once },
  /** With the size of an axis and its stride: the lengths of all vectors along it. */
  lengths: { start: startLengths, passes: once },
  /** Of values and draws from -1 to 1, with a density: Σ|x| over the Σ|x| of those that are kept. */
  kept: { start: startKept, passes: once },
  /** With a density: the magnitude of the last element that is kept, and its index; ties go to the lowest index. */
  magnitude: { start: startMagnitude, passes: () => 3 },
  /** With parts, rows, rounds and a seed: rows in an order in which equal parts are clusters. */
  clusters: { start: startClusters, passes: ([, , rounds]) => 2 * rounds! + 2 },
} as const satisfies Record<string, Measure>;

export type MeasureName = keyof typeof MEASURES;

/** Whether an element is kept, by its draw from -1 to 1. */
export const isDrawn = (draw: number, density: number): boolean => draw < 2 * density - 1;

function startMoments(): Pass {
  let [count, sum, squares] = [0, 0, 0];
  return {
    add(_, [x]) {
      for (const value of x!) {
        count++;
        sum += value;
        squares += value * value;
      }
    },
    end: () => {
      const mean = count === 0 ? 0 : sum / count;
      return [mean, Math.sqrt(Math.max(0, count === 0 ? 1 : squares / count - mean * mean))];
    },
  };
}

function startProducts(): Pass {
  let [aa, ab, bb] = [0, 0, 0];
  return {
    add(_, [a, b]) {
      for (let i = 0; i < a!.length; i++) {
        aa += a![i]! * a![i]!;
        ab += a![i]! * b![i]!;
        bb += b![i]! * b![i]!;
      }
    },
    end: () => [aa, ab, bb],
  };
}

function startLengths([size, stride]: readonly number[], length: number): Pass {
  const squares = new Float64Array(length / size!);
  return {
    add(at, [x]) {
      for (let i = 0; i < x!.length; i++) squares[lineOf(at + i, size!, stride!)]! += x![i]! * x![i]!;
    },
    end: () => Array.from(squares, Math.sqrt),
  };
}

/** Which of the vectors along an axis an element belongs to. */
export const lineOf = (index: number, size: number, stride: number): number =>
  Math.floor(index / (size * stride)) * stride + (index % stride);

function startKept([density]: readonly number[]): Pass {
  let [all, kept] = [0, 0];
  return {
    add(_, [x, draws]) {
      for (let i = 0; i < x!.length; i++) {
        const size = Math.abs(x![i]!);
        all += size;
        if (isDrawn(draws![i]!, density!)) kept += size;
      }
    },
    end: () => [kept === 0 ? 0 : all / kept],
  };
}

/** Float32 magnitudes order as their bits do: the upper halves are counted, then the lower ones, then the ties. */
function startMagnitude([density]: readonly number[], length: number): Pass {
  const wanted = Math.floor(density! * length);
  if (wanted <= 0) return known([Infinity, -1]);
  const upper = new Float64Array(1 << 16);
  return eachBits(
    (bits) => void upper[bits >>> 16]!++,
    () => {
      const high = findBin(upper, wanted);
      const lower = new Float64Array(1 << 16);
      return eachBits(
        (bits) => void (bits >>> 16 === high.bin && lower[bits & 0xffff]!++),
        () => {
          const low = findBin(lower, high.left);
          return findTie(((high.bin << 16) | low.bin) >>> 0, low.left);
        },
      );
    },
  );
}

function findTie(threshold: number, left: number): Pass {
  let [count, last] = [left, -1];
  return eachBits(
    (bits, index) => {
      if (bits === threshold && count-- > 0) last = index;
    },
    () => [new Float32Array(Uint32Array.of(threshold).buffer)[0]!, last],
  );
}

/** The bin, from the highest down, in which the `wanted`-th lies, and how many of it are wanted. */
function findBin(bins: Float64Array, wanted: number): { readonly bin: number; readonly left: number } {
  let left = wanted;
  for (let bin = bins.length - 1; bin > 0; bin--) {
    if (bins[bin]! >= left) return { bin, left };
    left -= bins[bin]!;
  }
  return { bin: 0, left };
}

function eachBits(visit: (bits: number, index: number) => void, end: Pass["end"]): Pass {
  return {
    add(at, [x]) {
      const magnitudes = new Float32Array(x!.length);
      for (let i = 0; i < magnitudes.length; i++) magnitudes[i] = Math.abs(x![i]!);
      const bits = new Uint32Array(magnitudes.buffer);
      for (let i = 0; i < bits.length; i++) visit(bits[i]!, at + i);
    },
    end,
  };
}

/** What is known without reading. */
function known(numbers: readonly number[]): Pass {
  return { add() {}, end: () => numbers };
}
