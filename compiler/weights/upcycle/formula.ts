/**
 * Functions of sums, element by element, that are no sums themselves. `numbers` are a term's constants and then what its
 * statistics found; inputs are chunks of one length, whose first element has the index `start`. Sources: mergekit's
 * definitions of SLERP, TIES (Yadav et al., arXiv 2306.01708) and DARE (Yu et al., arXiv 2311.03099).
 */
import { isDrawn, lineOf } from "./measure.ts";
import type { Floats } from "./pass.ts";

type Formula = (numbers: readonly number[], inputs: readonly Floats[], start: number, out: Floats) => void;

/** Below it, a vector counts as 0; as mergekit has it. */
const SHORTEST = 1e-8;

export const FORMULAS = {
  /** mean, deviation: x with these instead of 0 and 1. */
  spread([mean, deviation], [x], _, out) {
    for (let i = 0; i < out.length; i++) out[i] = mean! + deviation! * x![i]!;
  },
  /** size of an axis, stride, lengths of the vectors along it: these vectors with length 1, or at 0. */
  unit([size, stride, ...lengths], [x], start, out) {
    for (let i = 0; i < out.length; i++)
      out[i] = x![i]! / Math.max(lengths[lineOf(start + i, size!, stride!)]!, SHORTEST);
  },
  /** t, |a|², a·b, |b|²: on the arc from a to b; on the line where they point the same way or oppositely. */
  arc([t, aa, ab, bb], [a, b], _, out) {
    const cosine = ab! / Math.sqrt(aa! * bb!);
    const straight = !(Math.abs(cosine) <= 0.9995);
    const angle = Math.acos(straight ? 0 : cosine);
    const from = straight ? 1 - t! : Math.sin((1 - t!) * angle) / Math.sin(angle);
    const to = straight ? t! : Math.sin(t! * angle) / Math.sin(angle);
    for (let i = 0; i < out.length; i++) out[i] = from * a![i]! + to * b![i]!;
  },
  /** density, factor: what the draws keep, times the factor. */
  thin([density, factor], [x, draws], _, out) {
    for (let i = 0; i < out.length; i++) out[i] = isDrawn(draws![i]!, density!) ? factor! * x![i]! : 0;
  },
  /** magnitude, index: elements of at least that magnitude, those of exactly that one up to the index. */
  largest([magnitude, last], [x], start, out) {
    for (let i = 0; i < out.length; i++) {
      const size = Math.fround(Math.abs(x![i]!));
      out[i] = size > magnitude! || (size === magnitude! && start + i <= last!) ? x![i]! : 0;
    }
  },
  /** normalize, a weight per input: Σ w x over the inputs whose w x has the sign of the whole, over the Σ w of these. */
  elect([normalize, ...weights], inputs, _, out) {
    for (let i = 0; i < out.length; i++) {
      let all = 0;
      for (let k = 0; k < inputs.length; k++) all += weights[k]! * inputs[k]![i]!;
      let [sum, weight] = [0, 0];
      for (let k = 0; k < inputs.length; k++) {
        const value = weights[k]! * inputs[k]![i]!;
        if (value === 0 || value > 0 !== all >= 0) continue;
        sum += value;
        weight += weights[k]!;
      }
      out[i] = normalize === 0 || weight === 0 ? sum : sum / weight;
    }
  },
} as const satisfies Record<string, Formula>;

export type FormulaName = keyof typeof FORMULAS;
