/** `moec route`: where the tokens of texts went, by the metrics that a model's routers declare. */
import type { Command } from "commander";
import { MoeError } from "../../../grammar/index.ts";
import { loadTokenizer } from "../../../runtime/load/load-tokenizer.ts";
import type { Tokenizer } from "../../../runtime/tokenizer/tokenizer.ts";
import { checkReplaceable, replaceFile } from "../../../runtime/files/replace.ts";
import { type Routing, ROUTING_METRICS, traceRouting } from "../../../runtime/session/routing.ts";
import { parseCount, parseIndex } from "../../options.ts";
import { print, printJson, say, startProgress } from "../../output.ts";
import { renderPage } from "./page.ts";
import { describeRouting } from "./text.ts";
import type { RoutedText, StripToken } from "./routed-text.ts";
import { addSessionOptions, addTraceOption, filesOf, type SessionFlags, withSession } from "../../session.ts";
import { addTextOptions, cutSequences, listTexts, readText, type TextFlags } from "../../texts.ts";

interface Options extends SessionFlags, TextFlags {
  readonly context: number;
  readonly limit?: number;
  readonly strip?: number;
  readonly html?: string;
  readonly json?: true;
}

export function registerRoute(program: Command): void {
  addTextOptions(addTraceOption(addSessionOptions(program.command("route"))))
    .description("show where a mixture's routers send the tokens of texts: load, entropy and dead experts per layer")
    .option("--context <n>", "tokens of a sequence; each is routed on its own", parseCount, 256)
    .option("--limit <n>", "route only this many sequences of each file", parseCount)
    .option(
      "--strip <n>",
      "first tokens of each file to show with their experts (default: 12, or 192 with --html)",
      parseIndex,
    )
    .option("--html <file>", "write one page with heat maps and with the text coloured by expert")
    .option("--json", "print the numbers as JSON")
    .addHelpText("after", "\nExample:\n  moec route mixture --text code.txt law.txt --limit 8 --html routing.html")
    .action(runRoute);
}

/** What fits below the tables of a terminal, and on a page. */
const STRIP = { terminal: 12, page: 192 };

async function runRoute(folder: string, options: Options): Promise<void> {
  const files = listTexts(options);
  const inputs = [...files.map((file) => file.path), ...(options.map === undefined ? [] : [options.map])];
  const needs = { capacity: options.context, sequences: 1, metrics: ROUTING_METRICS };
  const wanted = options.strip ?? (options.html === undefined ? STRIP.terminal : STRIP.page);
  const [model, texts] = await withSession(
    folder,
    options,
    (loaded) => {
      inputs.push(...filesOf(loaded));
      if (options.html !== undefined) checkReplaceable(options.html, inputs);
      return needs;
    },
    async (session) => {
      const tokenizer = await tokenizerFor(folder, options);
      const routed: RoutedText[] = [];
      for (const text of files) {
        const ids = await readText(text, session.vocab, tokenizer);
        const sequences = cutSequences(text.path, ids, { ...options, least: 1 });
        const bar = startProgress(text.path, sequences.length);
        const routing = await traceRouting(session, sequences, { onProgress: bar.advance }).finally(bar.end);
        const strip = makeStrip(routing, sequences[0]!.subarray(0, wanted), tokenizer);
        routed.push({ file: text.path, sequences: sequences.length, routing, strip });
      }
      return [session.executor.plan.model, routed] as const;
    },
  );
  if (options.html !== undefined)
    replaceFile(options.html, [renderPage({ model, checkpoint: folder, texts })], { inputs });
  if (options.json) return printJson({ checkpoint: folder, context: options.context, files: texts.map(textJson) });
  const width = process.stdout.columns ?? 100;
  print(texts.map((text) => describeRouting(text, options.strip ?? STRIP.terminal, width)).join("\n\n"));
  if (options.html !== undefined) say(`wrote ${options.html}`);
}

/** Token ids need no tokenizer; where there is one, they are shown as text. */
async function tokenizerFor(folder: string, { text }: Options): Promise<Tokenizer | undefined> {
  return loadTokenizer(folder).catch((error: unknown) => {
    const hasNone = error instanceof MoeError && error.diagnostics.every((d) => d.code === "checkpoint/no-tokenizer");
    if (text === undefined && hasNone) return undefined;
    throw error;
  });
}

function makeStrip({ choices }: Routing, ids: Uint32Array, tokenizer: Tokenizer | undefined): readonly StripToken[] {
  if (choices.length === 0) return [];
  return Array.from(ids, (id, t) => ({
    id,
    text: tokenizer?.decode([id]) ?? String(id),
    experts: choices.map(({ perToken, experts }) => [...experts.subarray(t * perToken, (t + 1) * perToken)]),
  }));
}

function textJson({ file, sequences, routing, strip }: RoutedText): object {
  const { tokens, layers, choices } = routing;
  return { file, sequences, tokens, layers, strip: { parts: choices.map((c) => c.part), tokens: strip } };
}
