/** `moec eval`: perplexity, by the definition that papers use: the exponential of the mean next-token cross entropy. */
import type { Command } from "commander";
import { failure } from "../../grammar/index.ts";
import { loadTokenizer } from "../../runtime/load/load-tokenizer.ts";
import type { Session } from "../../runtime/session/session.ts";
import { parseCount } from "../options.ts";
import { humanCount, paint, print, printJson, startProgress, table } from "../output.ts";
import { addSessionOptions, addTraceOption, prepareAll, type SessionFlags, withSession } from "../session.ts";
import { addTextOptions, cutSequences, listTexts, readText, type TextFlags } from "../texts.ts";

interface Options extends SessionFlags, TextFlags {
  readonly context: number;
  readonly limit?: number;
  readonly json?: true;
}

export function registerEval(program: Command): void {
  addTextOptions(addTraceOption(addSessionOptions(program.command("eval"))))
    .description(
      "measure perplexity on texts; a text is cut into sequences of --context tokens, and each is scored by itself",
    )
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
  const files = listTexts(options);
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
      for (const file of files) {
        const ids = await readText(file, session.vocab, tokenizer);
        measured.push(await measure(session, file.path, cutSequences(file.path, ids, { ...options, least: 2 })));
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
