/**
 * What is known of a run while it goes on, as lines of JSON (`metrics.jsonl`), for reports and for other programs. Every line has a `kind` and
 * the number of steps that were done when it was written; numbers that JSON does not have are null.
 */
import { failure } from "../../grammar/diagnostic.ts";

/** When a run begins, and each time that it is resumed. */
export interface RunRecord {
  readonly kind: "run";
  readonly step: number;
  /** The last step that it is to come to. */
  readonly steps: number;
  readonly model: string;
  readonly parameters: number;
  /** What it was told, in words of its options. */
  readonly settings: Readonly<Record<string, string | number | boolean | null>>;
  readonly sources: readonly RunSource[];
}

/** `share` of the sequences, 0 to 1; ids to train on, and held out. */
export type RunSource = Readonly<{ name: string; share: number; tokens: number; heldOut: number }>;

export interface StepRecord {
  readonly kind: "step";
  /** From 1. */
  readonly step: number;
  /** Nats per token that counts, with all terms below. */
  readonly loss: number | null;
  /** Each loss that a layer states, by its name, as it is in `loss`. */
  readonly terms: Readonly<Record<string, number | null>>;
  /** Of the gradient, before it is clipped. */
  readonly norm: number | null;
  /** Null where the optimizer has no one rate. */
  readonly rate: number | null;
  /** Ids of this step, and of all steps up to it. */
  readonly tokens: number;
  readonly total: number;
  readonly seconds: number;
  readonly tokensPerSecond: number;
}

/** Of the held-out part of each source. */
export interface EvaluationRecord {
  readonly kind: "evaluation";
  readonly step: number;
  readonly domains: readonly DomainResult[];
}

/** Over `tokens` targets that count; `perplexity` is the exponential of the mean `nll` in nats. */
export type DomainResult = Readonly<{ name: string; tokens: number; nll: number | null; perplexity: number | null }>;

/** Tokens per expert of each router, of one step. */
export interface LoadRecord {
  readonly kind: "load";
  readonly step: number;
  readonly layers: readonly Readonly<{ part: string; load: readonly number[] }>[];
}

/** How the model went on from each prompt. */
export interface SampleRecord {
  readonly kind: "sample";
  readonly step: number;
  readonly texts: readonly Readonly<{ prompt: string; text: string }>[];
}

export type TrainingRecord = RunRecord | StepRecord | EvaluationRecord | LoadRecord | SampleRecord;

export const formatRecord = (record: TrainingRecord): string => `${JSON.stringify(record)}\n`;

/** Lines by their kind, each in order. */
export interface History {
  readonly runs: readonly RunRecord[];
  readonly steps: readonly StepRecord[];
  readonly evaluations: readonly EvaluationRecord[];
  readonly loads: readonly LoadRecord[];
  readonly samples: readonly SampleRecord[];
}

/** What a file of metrics says; a last line that was not written to its end is none. Throws `train/bad-metrics`. */
export function readHistory(path: string, text: string): History {
  const lines = text.split("\n");
  const records = lines.slice(0, -1).map((line, i) => parseRecord(path, i + 1, line));
  const of = <K extends TrainingRecord["kind"]>(kind: K): Extract<TrainingRecord, { kind: K }>[] =>
    records.filter((record): record is Extract<TrainingRecord, { kind: K }> => record.kind === kind);
  return {
    ...{ runs: of("run"), steps: of("step"), evaluations: of("evaluation") },
    ...{ loads: of("load"), samples: of("sample") },
  };
}

/** The fields that each kind's lines need to have; further ones are somebody's own. */
const NEEDED: Readonly<Record<TrainingRecord["kind"], readonly string[]>> = {
  run: ["steps", "model", "parameters", "settings", "sources"],
  step: ["loss", "terms", "norm", "rate", "tokens", "total", "seconds", "tokensPerSecond"],
  evaluation: ["domains"],
  load: ["layers"],
  sample: ["texts"],
};

/** Throws `train/bad-metrics`. */
export function parseRecord(path: string, line: number, text: string): TrainingRecord {
  const record = parseJson(text) as Readonly<Record<string, unknown>> | null;
  const kind = record?.["kind"];
  const needed =
    typeof kind === "string" && Object.hasOwn(NEEDED, kind) ? NEEDED[kind as TrainingRecord["kind"]] : null;
  const isRecord =
    needed?.every((key) => Object.hasOwn(record!, key)) === true && Number.isSafeInteger(record!["step"]);
  if (isRecord) return record as unknown as TrainingRecord;
  throw failure("train/bad-metrics", `line ${line} of \`${path}\` is no line of metrics`, {
    notes: [`it begins with ${JSON.stringify(text.slice(0, 60))}`],
    help: "give the `metrics.jsonl` of a run as moec wrote it, or move it away to begin another",
  });
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
