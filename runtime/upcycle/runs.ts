/**
 * Sources that run: what their parts are given on prompts becomes rows of the result. Each source is opened once, on the device, and runs
 * each of its prompts once; of what it computes only sums over tokens are kept. The GPU's library is loaded here, when it is needed.
 */
import { elementBytes } from "../checkpoint/element-type.ts";
import { createHash } from "node:crypto";
import {
  type Activation,
  activationsOf,
  type Assignment,
  givenTo,
  horizonOf,
  parametersGiving,
  type Prompt,
  type Prompts,
} from "../../compiler/index.ts";
import type { UpcycleDecl } from "../../grammar/ast.ts";
import { MoeError } from "../../grammar/diagnostic.ts";
import { walk } from "../../grammar/index.ts";
import type { AbortOptions } from "../abort.ts";
import { NotFinite, withNote } from "../session/not-finite.ts";
import { loadTokenizer } from "../load/load-tokenizer.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";
import type { LoadedModel } from "../model/model.ts";

/** What a source does before anything is written. */
export interface SourceRun {
  /** Its number. */
  readonly source: number;
  readonly loaded: LoadedModel;
  readonly prompts: readonly Prompt[];
  readonly activations: readonly Activation[];
  /** Of all prompts. */
  readonly tokens: number;
  /** Of the weights that are read and kept on the device meanwhile. */
  readonly bytes: number;
}

/** Elements of activations, f32 [rows, width] each. */
export type Given = ReadonlyMap<Activation, Float32Array>;

/** How a declaration's prompts are read: texts by the source's own tokenizer, behind what that puts in front. */
export async function openPrompts(decl: UpcycleDecl, sources: readonly LoadedModel[]): Promise<Prompts> {
  const tokenizers = hasTexts(decl) ? await Promise.all(sources.map(tryTokenizer)) : [];
  return {
    tokenize(source, text) {
      const tokenizer = tokenizers[source]!;
      if (tokenizer instanceof MoeError) throw tokenizer;
      return tokenizer.encodeText(text);
    },
    longest: (source) => horizonOf(sources[source]!.model)?.tokens ?? null,
    wraps: false,
  };
}

function hasTexts(decl: UpcycleDecl): boolean {
  let found = false;
  walk(decl, (node) => {
    if (node.kind === "call" && "args" in node) found ||= node.args.some((a) => a.name?.text === "text");
  });
  return found;
}

/** Whose tokenizer is wanted is only known when the rules are expanded. */
async function tryTokenizer({ checkpoint }: LoadedModel): Promise<Tokenizer | MoeError> {
  try {
    return await loadTokenizer(checkpoint.path);
  } catch (error) {
    if (error instanceof MoeError) return error;
    throw error;
  }
}

export function planRuns(assignments: readonly Assignment[], sources: readonly LoadedModel[]): readonly SourceRun[] {
  const all = new Set(assignments.flatMap((a) => activationsOf(a.terms)));
  const bySource = Map.groupBy(all, (a) => a.source);
  return [...bySource.keys()]
    .sort((a, b) => a - b)
    .map((source): SourceRun => {
      const loaded = sources[source]!;
      const activations = bySource.get(source)!;
      const prompts = [...new Set(activations.flatMap((a) => a.rows.flatMap((row) => row.map((part) => part.prompt))))];
      const needed = new Set(parametersGiving(loaded.model, partsOf(activations)));
      const bytes = loaded.model.parameters
        .filter(({ path }) => needed.has(path))
        .reduce(
          (n, { path, axes }) => n + axes.reduce((m, a) => m * a.size, elementBytes(loaded.source.storage(path))),
          0,
        );
      return { source, loaded, prompts, activations, tokens: prompts.reduce((n, p) => n + p.ids.length, 0), bytes };
    });
}

const partsOf = (activations: readonly Activation[]): readonly string[] => [...new Set(activations.map((a) => a.part))];

export interface RunOptions extends AbortOptions {
  /** Part of an adapter's name; the best one otherwise. */
  readonly adapter?: string | undefined;
  /** Of a source whose values are NaN or infinite, say the layer where that begins. */
  readonly traceFinite?: boolean | undefined;
  /** Hears which source runs, and how many of its prompts are done. */
  readonly onRun?: (run: SourceRun, done: number) => void;
}

/** Runs all of them, one after the other, so that no more than one is in the device's memory. Throws what `openDevice` and `openModel` throw. */
export async function computeGiven(
  runs: readonly SourceRun[],
  { adapter, onRun, signal, traceFinite = false }: RunOptions = {},
): Promise<Given> {
  const given = new Map<Activation, Float32Array>();
  if (runs.length === 0) return given;
  const { openDevice } = await import("../dawn/open-device.ts");
  const { openModel } = await import("../open.ts");
  const { visitMetrics } = await import("../session/metrics.ts");
  const { explainNotFinite } = await import("../trace-finite.ts");
  const device = await openDevice(adapter === undefined ? {} : { adapter });
  try {
    for (const run of runs) {
      const { activations, prompts, loaded } = run;
      const sums = activations.map((a) => new Float64Array(a.rows.length * a.width));
      const capacity = Math.max(...prompts.map((p) => p.ids.length));
      const parts = partsOf(activations);
      const session = await openModel(loaded, { device, capacity, sequences: 1, given: parts, signal });
      try {
        const uses = findUses(activations);
        await visitMetrics(
          session,
          prompts.map((p) => p.ids),
          ({ name, width }, values, sequence, first) => {
            for (const { to, row, token, weight } of uses.get(name)?.get(prompts[sequence]!) ?? []) {
              const from = (token - first) * width;
              if (from < 0 || from >= values.length) continue;
              for (let i = 0; i < width; i++) sums[to]![row * width + i]! += weight * values[from + i]!;
            }
          },
          { onProgress: (done) => onRun?.(run, done), signal },
        );
      } catch (error) {
        if (!(error instanceof NotFinite)) throw error;
        // Both may not fit on the device.
        session.close();
        const told = traceFinite ? await explainNotFinite(error, loaded, { device }) : error;
        throw withNote(told, `the model is ${loaded.checkpoint.path}`);
      } finally {
        session.close();
      }
      activations.forEach((a, i) => given.set(a, Float32Array.from(sums[i]!)));
    }
    return given;
  } finally {
    device.close();
  }
}

interface Use {
  /** Which activation, and which of its rows. */
  readonly to: number;
  readonly row: number;
  readonly token: number;
  readonly weight: number;
}

/** By metric and prompt, what its tokens are added to. */
function findUses(activations: readonly Activation[]): ReadonlyMap<string, ReadonlyMap<Prompt, readonly Use[]>> {
  const uses = new Map<string, Map<Prompt, Use[]>>();
  for (const [to, { part, rows }] of activations.entries()) {
    const ofPart = uses.get(givenTo(part)) ?? new Map<Prompt, Use[]>();
    uses.set(givenTo(part), ofPart);
    for (const [row, parts] of rows.entries()) {
      for (const { prompt, tokens, weight } of parts) {
        const known = ofPart.get(prompt) ?? [];
        ofPart.set(prompt, known);
        for (const token of tokens) known.push({ to, row, token, weight });
      }
    }
  }
  return uses;
}

/** SHA-256 of an activation's elements. */
export const hashRows = (rows: Float32Array): string => createHash("sha256").update(rows).digest("hex");

export const hashTexts = (texts: readonly string[]): string =>
  createHash("sha256").update(texts.join(" ")).digest("hex");
