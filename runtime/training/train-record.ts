/** `train.json`: where a training run stands, beside the weights and what the optimizer remembers. */
import { failure } from "../../grammar/diagnostic.ts";
import { count, describeProblem, fields, type Json, listOf, oneOf, record, text } from "../files/json-shape.ts";

const FORMAT = "moec.train/1";

export interface TrainingRecord {
  /** Optimizer steps done. */
  readonly step: number;
  readonly seed: number;
  /** Of the plan that trains, by `hashPlan`. */
  readonly plan: string;
  /** That it runs on, by `nameAdapter`. */
  readonly adapter: string;
  /** How many draws were made of each source, and where in it the next begins: whatever the data needs to go on. */
  readonly data: Readonly<Record<string, Json>>;
  /** What is kept from one micro-batch to the next, by path; empty between optimizer steps. */
  readonly accumulators: Readonly<Record<string, readonly number[]>>;
  /** Whatever else the run wants to find again: its settings, where it began. */
  readonly run: Readonly<Record<string, Json>>;
}

/** With what wrote it. */
export interface WrittenRecord extends TrainingRecord {
  readonly versions: Readonly<Record<string, string>>;
}

const shape = fields({
  format: oneOf(FORMAT),
  step: count,
  seed: count,
  plan: text,
  adapter: text,
  data: record,
  accumulators: record,
  run: record,
  versions: record,
});

export function formatRecord(written: WrittenRecord): string {
  return `${JSON.stringify({ format: FORMAT, ...written }, null, 2)}\n`;
}

/** Throws `train/bad-record` for what is no record. */
export function parseRecord(content: string, path: string): WrittenRecord {
  let json: Json;
  try {
    json = JSON.parse(content);
  } catch (cause) {
    throw refuse(`\`${path}\` is not JSON: ${(cause as Error).message}`, []);
  }
  const problem = shape(json, "") ?? accumulatorsOf(json);
  if (problem !== null) {
    const { message, notes } = describeProblem(problem, path);
    throw refuse(message, notes);
  }
  return json as WrittenRecord;
}

const numbers = listOf((value, path) => (typeof value === "number" ? null : { path, wanted: "a number", value }));

function accumulatorsOf(json: Json): ReturnType<typeof numbers> {
  const all = Object.entries((json as WrittenRecord).accumulators);
  for (const [name, value] of all) {
    const problem = numbers(value, `accumulators.${name}`);
    if (problem !== null) return problem;
  }
  return null;
}

function refuse(message: string, notes: readonly string[]): Error {
  return failure("train/bad-record", message, {
    notes: [...notes],
    help: "go on from an earlier checkpoint: move this one to another place",
  });
}
