/**
 * `moec.provenance.json`: where every tensor of a written checkpoint comes from. Hashes: SHA-256 of the bytes of each written
 * tensor; of source files only what costs nothing to know, their size, their last write and the SHA-256 of their header. A
 * tensor that is a copy has the hash of its source's bytes as well. Nothing in it depends on when or how fast it was made.
 */
import type { Assignment, Prompt, SourceTerm, Term, View } from "../../compiler/index.ts";
import { extentOf, isWhole, sumsOf } from "../../compiler/index.ts";
import { lineAndColumn } from "../../grammar/index.ts";
import { type Span, textOf } from "../../grammar/span.ts";
import { basename } from "node:path";
import type { Checkpoint } from "../checkpoint/store.ts";
import type { ParameterSource, StoredPlace } from "../gpu/parameters.ts";
import { VERSION } from "../version.ts";
import type { ProvenanceHead } from "./provenance-head.ts";
import { type Given, hashRows } from "./runs.ts";
import { isCopy, type Transfer, type TransferTensor } from "./transfer.ts";

const FORMAT = "moec.provenance/1";

export interface Provenance extends Omit<ProvenanceHead, "sources"> {
  readonly format: typeof FORMAT;
  readonly moec: string;
  readonly sources: readonly SourceRecord[];
  /** What sources ran on, before the rest was read. */
  readonly prompts: readonly PromptRecord[];
  readonly rules: readonly RuleRecord[];
  readonly tensors: Readonly<Record<string, TensorRecord>>;
}

export interface SourceRecord {
  readonly name: string;
  readonly model: string;
  readonly path: string;
  readonly files: readonly {
    readonly name: string;
    readonly bytes: number;
    readonly modified: string;
    readonly headerSha256: string;
  }[];
}

export interface PromptRecord {
  /** Index into `sources`. */
  readonly source: number;
  readonly text: string | null;
  readonly ids: readonly number[];
}

export interface RuleRecord {
  readonly file: string;
  readonly line: number;
  readonly text: string;
}

export interface TensorRecord {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly file: string;
  /** From the start of the file. */
  readonly bytes: readonly [number, number];
  readonly sha256: string;
  readonly parts: readonly PartRecord[];
}

/** Elements of a parameter, and the sum that gives them. */
export interface PartRecord {
  readonly parameter: string;
  readonly start: number;
  readonly length: number;
  /** Index into `rules`. */
  readonly rule: number;
  /** Whether the bytes are the source's. */
  readonly copy: boolean;
  readonly terms: readonly TermRecord[];
}

export type TermRecord =
  | { readonly weight: number; readonly fresh: string }
  /** What a part of a source is given, f32: a sum over tokens, which count from 0 in their prompt. */
  | {
      readonly weight: number;
      /** Index into `sources`. */
      readonly source: number;
      readonly given: string;
      readonly rows: readonly (readonly RowRecord[])[];
      readonly sha256: string;
    }
  /** A function of other sums, by its name, with the terms of all of them. */
  | { readonly weight: number; readonly made: string; readonly of: readonly TermRecord[] }
  | {
      readonly weight: number;
      /** Index into `sources`. */
      readonly source: number;
      readonly parameter: string;
      readonly from: readonly PlaceRecord[];
    };

export interface RowRecord {
  /** Index into `prompts`. */
  readonly prompt: number;
  readonly tokens: readonly number[];
  readonly weight: number;
}

export interface PlaceRecord {
  readonly tensor: string;
  readonly file: string;
  readonly bytes: readonly [number, number];
  /** False: it takes some of the bytes in this range, or in another order. */
  readonly whole: boolean;
}

/** What the writer knows of a tensor. */
export interface Written {
  readonly file: string;
  readonly start: number;
  readonly end: number;
  readonly sha256: string;
}

/** What records refer to. */
interface Known {
  readonly sources: readonly ParameterSource[];
  readonly given: Given;
  readonly prompts: ReadonlyMap<string, number>;
  readonly rules: Map<Span, number>;
  readonly written: ReadonlyMap<string, Written>;
}

const keyOf = (source: number, prompt: Prompt): string => JSON.stringify([source, prompt]);

/** The text of the file. */
export function formatProvenance(transfer: Transfer, given: Given, written: ReadonlyMap<string, Written>): string {
  const { tensors, checkpoints, provenance, sources } = transfer;
  const ran = transfer.runs.flatMap(({ source, prompts }) => prompts.map((prompt) => ({ source, prompt })));
  const prompts = new Map(ran.map(({ source, prompt }, i) => [keyOf(source, prompt), i]));
  const rules = new Map<Span, number>();
  const known = { sources, given, prompts, rules, written };
  const records = tensors.map((tensor) => [tensor.name, recordTensor(tensor, known)] as const);
  const all: Provenance = {
    format: FORMAT,
    moec: VERSION,
    ...provenance,
    sources: provenance.sources.map((source, i) => recordSource(source, checkpoints[i]!)),
    prompts: ran.map(({ source, prompt: { text, ids } }) => ({ source, text, ids })),
    rules: [...rules.keys()].map((span) => ({
      file: span.file.path,
      line: lineAndColumn(span.file, span.start).line,
      text: textOf(span).replace(/\s+/g, " "),
    })),
    tensors: Object.fromEntries(records),
  };
  // A prompt and a tensor a line: there may be very many.
  const lines = Object.entries(all.tensors).map(([name, t]) => `    ${JSON.stringify(name)}: ${JSON.stringify(t)}`);
  const texts = all.prompts.map((prompt) => `    ${JSON.stringify(prompt)}`);
  const head = JSON.stringify({ ...all, prompts: texts.length === 0 ? [] : null, tensors: null }, null, 2);
  return `${head
    .replace(/^ {2}"prompts": null/m, () => `  "prompts": [\n${texts.join(",\n")}\n  ]`)
    .replace(/null\n\}$/, () => `{\n${lines.join(",\n")}\n  }\n}`)}\n`;
}

function recordSource({ name, model }: ProvenanceHead["sources"][number], { path, files }: Checkpoint): SourceRecord {
  return {
    name,
    model,
    path,
    files: files.map((file) => ({
      name: basename(file.path),
      bytes: file.bytes,
      modified: new Date(Number(file.modified / 1_000_000n)).toISOString(),
      headerSha256: file.header,
    })),
  };
}

function recordTensor({ name, dtype, shape, parts }: TransferTensor, known: Known): TensorRecord {
  const { sources, rules, written } = known;
  const { file, start, end, sha256 } = written.get(name)!;
  const recordPart = (assignment: Assignment): PartRecord => {
    const { path, rule, terms, offset, length } = assignment;
    if (!rules.has(rule)) rules.set(rule, rules.size);
    return {
      parameter: path,
      start: assignment.start,
      length,
      rule: rules.get(rule)!,
      copy: isCopy(assignment, sources, dtype),
      terms: terms.map((term) => recordTerm(term, offset, length, known)),
    };
  };
  return { dtype, shape, file, bytes: [start, end], sha256, parts: parts.map((p) => recordPart(p.assignment)) };
}

function recordTerm(term: Term, offset: number, length: number, known: Known): TermRecord {
  if (term.kind === "fresh") {
    const { kind, ...settings } = term.init;
    const given = Object.entries(settings).map(([key, value]) => `${key}: ${value}`);
    const text = given.length === 0 ? kind : `${kind}(${given.join(", ")})`;
    return { weight: term.weight, fresh: text };
  }
  if (term.kind === "activation") {
    const { source, part, rows } = term.activation;
    return {
      weight: term.weight,
      source,
      given: part,
      rows: rows.map((row) =>
        row.map(({ prompt, ...rest }) => ({ prompt: known.prompts.get(keyOf(source, prompt))!, ...rest })),
      ),
      sha256: hashRows(known.given.get(term.activation)!),
    };
  }
  if (term.kind !== "source") {
    const of = sumsOf(term).flatMap((terms) => terms.map((t) => recordTerm(t, 0, countElements(t.view), known)));
    return { weight: term.weight, made: term.kind === "formula" ? term.formula : term.order.measure, of };
  }
  return {
    weight: term.weight,
    source: term.source,
    parameter: term.path,
    from: placesOf(term, offset, length, known.sources[term.source]!).map(({ file, start, end, ...place }) => ({
      tensor: place.tensor,
      file: basename(file),
      bytes: [start, end],
      whole: place.whole,
    })),
  };
}

function countElements({ axes }: View): number {
  return axes.reduce((n, a) => n * a.size, 1);
}

/** Where a term's elements are stored; a view that picks is told by the range that it picks from. */
export function placesOf(
  { path, view }: SourceTerm,
  offset: number,
  length: number,
  source: ParameterSource,
): readonly StoredPlace[] {
  const whole = isWhole(view);
  const [start, end] = whole ? [view.start + offset, view.start + offset + length] : extentOf(view);
  return (source.places?.(path, start, end - start) ?? []).map((place) => ({ ...place, whole: place.whole && whole }));
}
