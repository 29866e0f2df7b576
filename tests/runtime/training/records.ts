/** Lines of metrics of a made-up run, for what shows them. */
import type { EvaluationRecord, LoadRecord, RunRecord, StepRecord } from "../../../runtime/training/record.ts";

export const runOf = (more: Partial<RunRecord> = {}): RunRecord => ({
  kind: "run",
  step: 0,
  steps: 400,
  model: "Mixture",
  parameters: 3_100_000,
  settings: { optimizer: "AdamW", rate: 0.001, batch: 8, context: 256, seed: 1 },
  sources: ["prose", "code", "law"].map((name, i) => ({
    name,
    share: [0.5, 0.3, 0.2][i]!,
    tokens: 160_000,
    heldOut: 8192,
  })),
  ...more,
});

/** The loss falls from 7 towards 3, up and down a little. */
export const stepOf = (step: number, more: Partial<StepRecord> = {}): StepRecord => ({
  kind: "step",
  step,
  loss: 3 + 4 * Math.exp(-step / 60) + 0.12 * Math.sin(step * 12.9898),
  terms: { "blocks[0].balance": 0.01 + 0.02 * Math.exp(-step / 30) },
  norm: 0.8 + 2 * Math.exp(-step / 20) + 0.2 * Math.abs(Math.sin(step * 78.233)),
  rate: 0.001 * Math.min(1, step / 20) * (0.55 + 0.45 * Math.cos((Math.PI * step) / 400)),
  tokens: 2048,
  total: 2048 * step,
  seconds: 0.8,
  tokensPerSecond: 2560,
  ...more,
});

export const evaluationOf = (step: number): EvaluationRecord => ({
  kind: "evaluation",
  step,
  domains: ["prose", "code", "law"].map((name, i) => {
    const nll = [3.3, 2.4, 2.5][i]! + Math.exp(-step / 80);
    return { name, tokens: 8191, nll, perplexity: Math.exp(nll) };
  }),
});

/** Four experts in each of `layers` layers, which grow apart. */
export const loadOf = (step: number, layers = 4, experts = 4): LoadRecord => ({
  kind: "load",
  step,
  layers: Array.from({ length: layers }, (_, l) => ({
    part: `blocks[${l}].ffn.pick`,
    load: Array.from({ length: experts }, (_x, n) =>
      l === 2 && n === 3 && step > 200 ? 0 : Math.round(512 * (1 + Math.sin(l + 2 * n) * (1 - Math.exp(-step / 100)))),
    ),
  })),
});
