/** `moec eval`: perplexity, by the definition that papers use: the exponential of the mean next-token cross entropy. */
import type { Command } from "commander";
import { failure } from "../grammar/index.ts";
import { loadTokenizer, loadTokens } from "../runtime/checkpoint/index.ts";
import type { Session } from "../runtime/session.ts";
import { parseCount } from "./options.ts";
import { humanCount, paint, print, printJson, startProgress, table } from "./output.ts";
import { addSessionOptions, prepareAll, type SessionFlags, withSession } from "./session.ts";

interface Options extends SessionFlags {
  readonly text?: readonly string[];
  readonly tokens?: readonly string[];
  readonly context: number;
  readonly limit?: number;
  readonly json?: true;
}

export function registerEval(program: Command): void {
  addSessionOptions(program.command("eval"))
    .description("measure perplexity on texts: sequences of --context tokens one after the other, each on its own")
    .option("--text <file...>", "texts in UTF-8; U+001E separates documents, each gets the tokenizer's BOS")
    .option("--tokens <file...>", "raw token ids, little-endian uint16 (uint32 for vocabularies over 65536)")
    .option("--context <n>", "tokens of a sequence; the first of each is not predicted", parseCount, 256)
    .option("--limit <n>", "measure only this many sequences of each file", parseCount)
    .option("--json", "print the results as JSON")
    .addHelpText(
      "after",
      "\nExample:\n  moec eval examples/checkpoints/seed --tokens examples/text/prose.bin --limit 16",
    )
    .action(runEval);
}

/** Sequences that run together; more only take memory. */
const TOGETHER = 2;

interface Result {
  readonly file: string;
  readonly sequences: number;
  /** All tokens of the sequences, predicted or not. */
  readonly tokens: number;
  readonly perplexity: number;
  readonly tokensPerSecond: number;
}

async function runEval(folder: string, options: Options): Promise<void> {
  const files = [
    ...(options.text ?? []).map((path) => ({ path, format: "text" as const })),
    ...(options.tokens ?? []).map((path) => ({ path, format: undefined })),
  ];
  if (files.length === 0)
    throw failure("cli/nothing-to-do", "there is nothing to measure", {
      help: "give --text FILE or --tokens FILE.bin",
    });
  if (options.context < 2)
    throw failure("cli/nothing-to-do", "a sequence of one token predicts nothing", {
      help: "give --context 2 or more",
    });
  const needs = { capacity: options.context, sequences: TOGETHER };
  const results = await withSession(
    folder,
    options,
    () => needs,
    async (session) => {
      await prepareAll(session);
      const tokenizer = options.text === undefined ? undefined : await loadTokenizer(folder);
      const measured: Result[] = [];
      for (const { path, format } of files) {
        const given = {
          vocabularySize: session.vocab,
          ...(tokenizer === undefined ? {} : { tokenizer }),
          ...(format === undefined ? {} : { format }),
        };
        const ids = await loadTokens(path, given);
        measured.push(await measure(session, path, cutSequences(path, ids, options)));
      }
      return measured;
    },
  );
  if (options.json) return printJson({ checkpoint: folder, context: options.context, files: results });
  const rows = results.map((r) => [
    r.file,
    String(r.sequences),
    humanCount(r.tokens),
    r.perplexity.toFixed(4),
    humanCount(r.tokensPerSecond),
  ]);
  print(table([["file", "sequences", "tokens", "perplexity", "tokens per s"].map(paint.bold), ...rows], [1, 2, 3, 4]));
}

/** Whole sequences only, so that every prediction has the same chances of context; a short text is one sequence. */
function cutSequences(path: string, ids: Uint32Array, { context, limit }: Options): Uint32Array[] {
  if (ids.length < 2)
    throw failure("cli/nothing-to-do", `${path} has ${ids.length} tokens, so there is nothing to predict`, {
      help: "give a longer text",
    });
  const count = Math.min(limit ?? Infinity, Math.max(1, Math.floor(ids.length / context)));
  return Array.from({ length: count }, (_, i) => ids.subarray(i * context, (i + 1) * context));
}

async function measure(session: Session, file: string, sequences: readonly Uint32Array[]): Promise<Result> {
  const bar = startProgress(file, sequences.length);
  const start = performance.now();
  let [sum, predicted] = [0, 0];
  for (let i = 0; i < sequences.length; i += TOGETHER) {
    for (const losses of await session.score(sequences.slice(i, i + TOGETHER))) {
      sum += losses.reduce((a, b) => a + b, 0);
      predicted += losses.length;
    }
    bar.advance(Math.min(sequences.length, i + TOGETHER));
  }
  bar.end();
  const tokens = sequences.reduce((n, s) => n + s.length, 0);
  return {
    file,
    sequences: sequences.length,
    tokens,
    perplexity: Math.exp(sum / predicted),
    tokensPerSecond: (1000 * tokens) / (performance.now() - start),
  };
}
