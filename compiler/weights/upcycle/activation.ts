/**
 * Terms of what sources are given, added up: every sum over tokens becomes one row of its own, so that an executor keeps a row where a
 * source runs on many tokens.
 */
import type { Activation, ActivationTerm, Prompt, Row, RowPart, Term } from "./recipe.ts";
import { extentOf } from "./view.ts";

/** An array [rows, width] of single tokens: all of every prompt, or of each only the last, or the mean. */
export function activationOf(
  source: number,
  part: string,
  width: number,
  prompts: readonly Prompt[],
  each: Each,
): Activation {
  return { source, part, width, rows: prompts.flatMap((prompt) => EACH[each](prompt)) };
}

/** Rows of a prompt. */
export const EACH = {
  token: (prompt: Prompt): readonly Row[] => prompt.ids.map((_, at) => [{ prompt, tokens: [at], weight: 1 }]),
  last: (prompt: Prompt): readonly Row[] => [[{ prompt, tokens: [prompt.ids.length - 1], weight: 1 }]],
  mean: (prompt: Prompt): readonly Row[] => [
    [{ prompt, tokens: [...prompt.ids.keys()], weight: 1 / prompt.ids.length }],
  ],
} as const satisfies Record<string, (prompt: Prompt) => readonly Row[]>;

export type Each = keyof typeof EACH;

/** A term that looks at one row of many, of that row alone; any other as it is. */
export function chooseRow(term: Term): Term {
  if (term.kind !== "activation") return term;
  const { activation, view } = term;
  const { width, rows } = activation;
  const [first, end] = extentOf(view);
  const row = Math.floor(first / width);
  if (rows.length === 1 || first === end || end > (row + 1) * width) return term;
  return {
    ...term,
    activation: { ...activation, rows: [rows[row]!] },
    view: { ...view, start: view.start - row * width },
  };
}

/** A sum in which rows of one part, seen alike, are one row. */
export function addActivations(terms: readonly Term[]): readonly Term[] {
  const sums = new Map<string, { readonly term: ActivationTerm; readonly row: RowPart[] }>();
  const others: Term[] = [];
  for (const term of terms) {
    if (term.kind !== "activation" || term.activation.rows.length !== 1) {
      others.push(term);
      continue;
    }
    const { source, part } = term.activation;
    const key = JSON.stringify([source, part, term.view]);
    const sum = sums.get(key) ?? { term, row: [] };
    for (const part of term.activation.rows[0]!) sum.row.push({ ...part, weight: part.weight * term.weight });
    sums.set(key, sum);
  }
  const added = [...sums.values()].flatMap(({ term, row }): Term[] => {
    const joined = joinRow(row);
    return joined.length === 0 ? [] : [{ ...term, weight: 1, activation: { ...term.activation, rows: [joined] } }];
  });
  return [...others, ...added];
}

/** Every token once, with all its weight, those of one prompt and weight as one part; what weighs nothing is left out. */
function joinRow(row: Row): Row {
  return [...Map.groupBy(row, (part) => part.prompt)].flatMap(([prompt, parts]) => {
    const weights = new Map<number, number>();
    for (const { tokens, weight } of parts)
      for (const token of tokens) weights.set(token, (weights.get(token) ?? 0) + weight);
    const byWeight = Map.groupBy(weights, ([, weight]) => weight);
    byWeight.delete(0);
    return [...byWeight].map(([weight, same]): RowPart => ({ prompt, tokens: same.map(([token]) => token), weight }));
  });
}
