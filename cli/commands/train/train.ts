/** `moec train`: a checkpoint is taught on texts; what it will take is told first, what it comes to as it goes on. */
import { basename, join, resolve } from "node:path";
import type { Command } from "commander";
import { failure } from "../../../grammar/index.ts";
import type { EvaluationRecord } from "../../../runtime/training/record.ts";
import type { TrainingRun } from "../../../runtime/training/train.ts";
import { addDataOptions, type DataFlags, readDataFlags } from "../../data.ts";
import { parseCount, parseIndex } from "../../options.ts";
import { humanBytes, humanCount, plural, print, printJson, say, table } from "../../output.ts";
import { addSessionOptions, type SessionFlags, withDevice } from "../../session.ts";
import { addOptimizingOptions, type OptimizingFlags, readOptimizingFlags } from "./optimizing.ts";
import { writeFresh } from "./fresh.ts";
import { writeReport } from "./page.ts";
import { startTraining } from "./progress.ts";

interface Flags extends SessionFlags, DataFlags, OptimizingFlags {
  readonly out: string;
  readonly init?: string;
  readonly tokenizer?: string;
  readonly steps?: number;
  readonly tokens?: number;
  readonly context?: number;
  readonly batch: number;
  readonly together?: number;
  readonly seed: number;
  readonly evaluate: number;
  readonly evaluateSequences: number;
  readonly checkpoint: number;
  readonly sample?: readonly string[];
  readonly sampleTokens: number;
  readonly resume?: true;
  readonly acceptChanged?: true;
  readonly plan?: true;
  readonly json?: true;
}

export function registerTrain(program: Command): void {
  addOptimizingOptions(addDataOptions(addSessionOptions(program.command("train"), "[checkpoint]")))
    .description("teach a checkpoint on texts: optimizer steps on the GPU, measured and kept as they go on")
    .requiredOption("--out <folder>", "folder of the run: checkpoints, metrics.jsonl, report.html")
    .option("--init <file#config>", "train a fresh model of this config of a .moe file, instead of a checkpoint")
    .option("--tokenizer <folder>", "checkpoint with the tokenizer of a fresh model")
    .option("--steps <n>", "optimizer steps (default: what --tokens makes)", parseCount)
    .option("--tokens <n>", "tokens to train on, instead of --steps (default: 200000)", parseCount)
    .option("--context <n>", "tokens of a sequence (default: 256, or as many as the model has)", parseCount)
    .option("--batch <n>", "sequences of an optimizer step", parseCount, 8)
    .option("--together <n>", "sequences that run at once; a divisor of --batch (default: as many as fit)", parseCount)
    .option(
      "--seed <n>",
      "of the data's order, of what is drawn in training, and of a fresh model's weights",
      parseIndex,
      1,
    )
    .option("--evaluate <n>", "measure held-out text every so many steps; 0: never", parseIndex, 50)
    .option("--evaluate-sequences <n>", "held-out sequences of each source", parseCount, 64)
    .option("--checkpoint <n>", "keep a checkpoint every so many steps; 0: at the end alone", parseIndex, 200)
    .option("--sample <text...>", "write on from these texts each time that is measured, to see what it learns")
    .option("--sample-tokens <n>", "tokens to write behind each", parseCount, 48)
    .option("--resume", "go on from the last checkpoint in --out, to the same bits")
    .option("--accept-changed", "go on although what follows would not be what an unbroken run gives")
    .option("--plan", "only show what would be done: data, steps, memory")
    .option("--json", "print the plan and the result as JSON")
    .addHelpText("after", "\nExample:\n  moec train mixture --data code=src/**/*.py prose.txt --tokens 50000 --out run")
    .action(runTrain);
}

async function runTrain(checkpoint: string | undefined, flags: Flags): Promise<void> {
  checkAmount(flags);
  const folder = await openSubjectOf(checkpoint, flags);
  await withDevice(folder, flags, flags.context ?? { usual: USUAL_CONTEXT }, async (loaded, openDevice, context) => {
    const steps = stepsOf(flags, context);
    const { openTraining } = await import("../../../runtime/training/train.ts");
    const run = await openTraining({
      device: await openDevice(),
      loaded,
      out: flags.out,
      data: readDataFlags(flags),
      steps,
      context,
      batch: flags.batch,
      ...(flags.together === undefined ? {} : { together: flags.together }),
      seed: flags.seed,
      ...readOptimizingFlags(flags),
      evaluateEvery: flags.evaluate,
      evaluateSequences: flags.evaluateSequences,
      checkpointEvery: flags.checkpoint,
      ...(flags.sample === undefined ? {} : { samples: { prompts: flags.sample, tokens: flags.sampleTokens } }),
      resume: flags.resume === true,
      acceptChanged: flags.acceptChanged === true,
    });
    try {
      if (flags.json !== true) print(describePlan(run, flags.batch, context, steps));
      if (flags.plan !== true) await follow(run, steps, flags);
      else if (flags.json === true) printJson(planJson(run, steps));
    } finally {
      await run.close();
    }
  });
}

/** The folder of what is trained. Throws `cli/usage`. */
async function openSubjectOf(checkpoint: string | undefined, { init, tokenizer, ...flags }: Flags): Promise<string> {
  if (checkpoint !== undefined && init !== undefined)
    throw failure("cli/usage", "a checkpoint and `--init` are both given", {
      help: "leave out one: a run goes on from a checkpoint, or begins with a fresh model",
    });
  if (init === undefined && tokenizer !== undefined)
    throw failure("cli/usage", "`--tokenizer` needs `--init`", { help: "leave it out: a checkpoint brings its own" });
  if (checkpoint !== undefined) return checkpoint;
  if (init === undefined)
    throw failure("cli/usage", "there is nothing to train", {
      help: "give a checkpoint's folder, or `--init FILE.moe#CONFIG` for a fresh model",
    });
  return writeFresh(init, { ...flags, tokenizer: tokenizer ?? null });
}

const DEFAULT_TOKENS = 200_000;

const USUAL_CONTEXT = 256;

function checkAmount({ steps, tokens }: Flags): void {
  if (steps !== undefined && tokens !== undefined)
    throw failure("cli/usage", "`--steps` and `--tokens` say the same thing", { help: "give one of them" });
}

function stepsOf({ steps, tokens, batch }: Flags, context: number): number {
  return steps ?? Math.max(1, Math.ceil((tokens ?? DEFAULT_TOKENS) / (batch * context)));
}

/** What will be done and what it takes, before it is begun. */
function describePlan(run: TrainingRun, batch: number, context: number, steps: number): string {
  const { memory, sources, sequences, micros, trained, parameters } = run;
  const rows = sources.map(({ name, share, tokens, heldOut, documents }) => [
    name,
    `${(100 * share).toFixed(1)} %`,
    humanCount(tokens),
    plural(documents, "document"),
    humanCount(heldOut),
  ]);
  const total = steps * batch * context;
  const parts = Object.entries(memory).filter(([name, bytes]) => name !== "total" && bytes > 0);
  return [
    table([["source", "share", "tokens", "", "held out"], ...rows], [1, 2, 4]),
    "",
    `${plural(steps, "step")} of ${batch} × ${context} = ${humanCount(batch * context)} tokens, ${humanCount(total)} in all; ${sequences} sequences at once, ${micros === 1 ? "once" : `${micros} times`} a step`,
    `${humanCount(trained)} of ${humanCount(parameters)} parameters are trained`,
    `${humanBytes(memory.total)} on the device: ${parts.map(([name, bytes]) => `${name} ${humanBytes(bytes)}`).join(", ")}`,
  ].join("\n");
}

function planJson(run: TrainingRun, steps: number): object {
  const { memory, sources, sequences, micros, trained, parameters, done, differences } = run;
  return { steps, sequences, micros, trained, parameters, done, differences, memory, sources };
}

/** Runs to the end, and tells how it went. */
async function follow(run: TrainingRun, steps: number, flags: Flags): Promise<void> {
  if (run.done > 0) say(`going on after step ${run.done}`);
  for (const difference of run.differences) say(`changed: ${difference}`);
  const progress = startTraining(steps, run.done + 1);
  const page = join(flags.out, "report.html");
  const report = (): void => writeReport(page, join(flags.out, "metrics.jsonl"), basename(resolve(flags.out)));
  let last: string | null = null;
  let first: EvaluationRecord | null = null;
  let final: EvaluationRecord | null = null;
  try {
    for await (const event of run.events()) {
      if (event.kind === "checkpoint") last = event.path;
      else progress.show(event);
      if (event.kind === "checkpoint" || event.kind === "evaluation") report();
      if (event.kind !== "evaluation") continue;
      first ??= event;
      final = event;
    }
  } finally {
    progress.end();
  }
  if (flags.json === true) return printJson({ ...planJson(run, steps), checkpoint: last, first, final });
  if (first !== null && final !== null) print(`\n${describeGain(first, final)}`);
  if (last !== null) print(`\nThe checkpoint is ${last}, the report ${page}`);
}

/** Perplexity of each domain before and after. */
function describeGain(first: EvaluationRecord, final: EvaluationRecord): string {
  const rows = final.domains.map(({ name, perplexity, tokens }) => {
    const before = first.domains.find((d) => d.name === name)?.perplexity ?? null;
    const text = (x: number | null): string => (x === null ? "not finite" : x.toFixed(2));
    return [name, text(before), text(perplexity), humanCount(tokens)];
  });
  return table(
    [["domain", first.step === 0 ? "before" : `step ${first.step}`, `step ${final.step}`, "tokens"], ...rows],
    [1, 2, 3],
  );
}
