/** `moec generate`: continues a prompt. The text streams to stdout; what it took goes to stderr. */
import type { Command } from "commander";
import { failure } from "../../grammar/index.ts";
import { loadTokenizer } from "../../runtime/load/load-tokenizer.ts";
import type { Tokenizer } from "../../runtime/tokenizer/tokenizer.ts";
import type { Session } from "../../runtime/session/session.ts";
import { parseCount, parseIndex, parseNumber } from "../options.ts";
import { humanCount, humanTime, paintError, print, printJson, say } from "../output.ts";
import {
  addSessionOptions,
  addTraceOption,
  type Needs,
  prepareAll,
  type SessionFlags,
  withSession,
} from "../session.ts";

interface Options extends SessionFlags {
  readonly prompt: string;
  readonly maxTokens: number;
  readonly temperature: number;
  readonly topK: number;
  readonly topP: number;
  readonly seed: number;
  readonly json?: true;
}

export function registerGenerate(program: Command): void {
  addTraceOption(addSessionOptions(program.command("generate")))
    .description("continue a prompt, streaming the text to stdout")
    .requiredOption("--prompt <text>", "what to continue; the tokenizer's BOS goes in front")
    .option("--max-tokens <n>", "the most tokens to add", parseCount, 128)
    .option("--temperature <x>", "0 takes the most probable token every time", parseNumber(), 0)
    .option("--top-k <n>", "choose among this many of the most probable tokens; 0 is all", parseIndex, 0)
    .option(
      "--top-p <x>",
      "choose among the most probable tokens that together have this probability",
      parseNumber(1),
      1,
    )
    .option("--seed <n>", "the same seed gives the same text", parseIndex, 0)
    .option("--json", "print prompt, text, token ids and timings as JSON at the end")
    .addHelpText(
      "after",
      '\nExample:\n  moec generate examples/checkpoints/seed --prompt "The licence" --max-tokens 40 --temperature 0.8',
    )
    .action(runGenerate);
}

async function runGenerate(folder: string, options: Options): Promise<void> {
  const plan = async (): Promise<Task> => {
    const tokenizer = await loadTokenizer(folder);
    const prompt = encodePrompt(options.prompt, tokenizer);
    return {
      tokenizer,
      prompt,
      capacity: prompt.length + options.maxTokens,
      sequences: 1,
      purpose: "generate" as const,
    };
  };
  await withSession(folder, options, plan, async (session, { tokenizer, prompt }) => {
    await prepareAll(session);
    const run = await stream(session, tokenizer, prompt, options);
    if (options.json) return printJson({ prompt: options.prompt, ...run });
    print("");
    say(paintError.dim(describeStats(run.stats)));
  });
}

interface Task extends Needs {
  readonly tokenizer: Tokenizer;
  readonly prompt: readonly number[];
}

function encodePrompt(text: string, tokenizer: Tokenizer): readonly number[] {
  const prompt = tokenizer.encodeText(text);
  if (prompt.length > 0) return prompt;
  throw failure("cli/nothing-to-do", "the prompt is empty, and this tokenizer puts nothing in front of it", {
    help: "give a prompt with some text",
  });
}

interface Stats {
  readonly promptTokens: number;
  readonly tokens: number;
  readonly firstTokenMs: number;
  readonly promptTokensPerSecond: number;
  /** Of the tokens after the first, by the median: drivers compile kernels at their first use. Null when there are none. */
  readonly decodeTokensPerSecond: number | null;
}

async function stream(
  session: Session,
  tokenizer: Tokenizer,
  prompt: readonly number[],
  options: Options,
): Promise<{ text: string; ids: readonly number[]; stats: Stats }> {
  const decoder = tokenizer.stream();
  const ids: number[] = [];
  let text = "";
  const emit = (piece: string): void => {
    text += piece;
    if (!options.json) process.stdout.write(piece);
  };
  const start = performance.now();
  let [first, last] = [start, start];
  const gaps: number[] = [];
  const { maxTokens, temperature, topK, topP, seed } = options;
  for await (const { token } of session.generate({
    prompts: [prompt],
    maxTokens,
    temperature,
    topK,
    topP,
    seed,
    stop: tokenizer.eosIds,
  })) {
    const now = performance.now();
    if (ids.push(token) === 1) first = now;
    else gaps.push(now - last);
    last = now;
    emit(decoder.push(token));
  }
  emit(decoder.end());
  if (ids.length === 0) first = performance.now();
  const rate = (tokens: number, milliseconds: number): number => (1000 * tokens) / milliseconds;
  const stats = {
    promptTokens: prompt.length,
    tokens: ids.length,
    firstTokenMs: first - start,
    promptTokensPerSecond: rate(prompt.length, first - start),
    decodeTokensPerSecond: gaps.length > 0 ? rate(1, gaps.toSorted((a, b) => a - b)[gaps.length >> 1]!) : null,
  };
  return { text, ids, stats };
}

function describeStats(stats: Stats): string {
  const decode =
    stats.decodeTokensPerSecond === null ? "" : `, then ${humanCount(stats.decodeTokensPerSecond)} tokens/s`;
  return `${stats.promptTokens} tokens of prompt at ${humanCount(stats.promptTokensPerSecond)} tokens/s, first token after ${humanTime(stats.firstTokenMs)}${decode} (${stats.tokens} tokens)`;
}
