/**
 * Random programs until the time is over: most through everything but a GPU, every so many on one. What fails is shrunk, printed and, where
 * a folder is given, kept there; what failed alike before is only counted.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { type TestGpu, openTestGpu } from "../../support/gpu.ts";
import { type Executor, type Fault, checkCase, executors, withoutGpu } from "./check.ts";
import { type Case, casesOf } from "./generate.ts";
import { reduceProgram } from "./reduce.ts";
import { printCase } from "./text.ts";

export interface ProgramsOptions {
  readonly seconds: number;
  readonly seed: number;
  /** One in so many is a small one that runs on the GPU as well; 0: none. */
  readonly gpuEvery: number;
  /** Where counter-examples go. */
  readonly out: string | null;
  readonly print: (line: string) => void;
  /** Only these; all when left out. */
  readonly executors?: readonly Executor[];
}

/** By executor: how many programs it ran, agreed with the oracle on, and left some elements of undecided. */
export interface Tally {
  ran: number;
  agreed: number;
  undetermined: number;
}

export interface Outcome {
  programs: number;
  readonly tallies: Readonly<Record<Executor, Tally>>;
  readonly found: Map<string, number>;
}

/** Steps of a program that a GPU has to compile, and of one that it does not. */
const [SMALL, LARGE] = [9, 24];

const SHRUNK = 3;

export async function searchPrograms(options: ProgramsOptions): Promise<Outcome> {
  const { seconds, seed, gpuEvery, print } = options;
  const end = performance.now() + seconds * 1000;
  const outcome: Outcome = {
    programs: 0,
    tallies: Object.fromEntries(
      executors.map((e) => [e, { ran: 0, agreed: 0, undetermined: 0 }]),
    ) as Outcome["tallies"],
    found: new Map(),
  };
  let gpu: TestGpu | null = null;
  let told = performance.now();
  for (let i = 0; performance.now() < end; i++) {
    const onGpu = gpuEvery > 0 && i % gpuEvery === 0;
    // A device is used for some time and then closed, with all pipelines that it holds.
    if (onGpu && (gpu === null || (i / gpuEvery) % 200 === 0)) {
      gpu?.close();
      gpu = await openTestGpu();
    }
    const wanted: readonly Executor[] = onGpu ? executors : withoutGpu;
    const own = options.executors === undefined ? wanted : wanted.filter((e) => options.executors!.includes(e));
    const arbitrary = casesOf(onGpu ? SMALL : LARGE);
    const [test] = fc.sample(arbitrary, { seed: seed + i, numRuns: 1 });
    const report = await checkCase(test!, own, gpu);
    outcome.programs++;
    for (const executor of report.ran) {
      const tally = outcome.tallies[executor];
      tally.ran++;
      if (report.undetermined.includes(executor)) tally.undetermined++;
      if (!report.faults.some((f) => f.executor === executor)) tally.agreed++;
    }
    for (const fault of report.faults) await note(fault, seed + i, arbitrary, gpu, options, outcome);
    if (performance.now() > told + 20_000) {
      told = performance.now();
      print(summary(outcome));
    }
  }
  gpu?.close();
  print(summary(outcome));
  return outcome;
}

/** All are told and kept; of each kind the first are shrunk before, since later ones mostly are the same. */
async function note(
  fault: Fault,
  seed: number,
  arbitrary: fc.Arbitrary<Case>,
  gpu: TestGpu | null,
  { out, print }: ProgramsOptions,
  { found }: Outcome,
): Promise<void> {
  const kind = `${fault.executor}: ${fault.kind}`;
  const before = found.get(kind) ?? 0;
  found.set(kind, before + 1);
  const [drawn] = fc.sample(arbitrary, { seed, numRuns: 1 });
  const text = printCase(before < SHRUNK ? await shrink(drawn!, fault, seed, arbitrary, gpu) : drawn!);
  print(`found (seed ${seed}): ${fault.executor} ${fault.message}\n${before < SHRUNK ? text : ""}`);
  if (out === null) return;
  mkdirSync(out, { recursive: true });
  writeFileSync(join(out, `${fault.executor.replaceAll(" ", "-")}-${seed}.graph`), text);
}

/** By the numbers it was drawn from, then node by node. */
async function shrink(
  drawn: Case,
  fault: Fault,
  seed: number,
  arbitrary: fc.Arbitrary<Case>,
  gpu: TestGpu | null,
): Promise<Case> {
  const fails = (test: Case): Promise<boolean> => failsAlike(test, fault, gpu);
  let left = 120;
  const { counterexample } = await fc.check(
    fc.asyncProperty(arbitrary, async (test) => !(left-- > 0 && (await fails(test)))),
    { seed, numRuns: 1 },
  );
  const large = counterexample?.[0] ?? drawn;
  return { ...large, program: await reduceProgram(large.program, (program) => fails({ ...large, program })) };
}

async function failsAlike(test: Case, { executor, kind }: Fault, gpu: TestGpu | null): Promise<boolean> {
  const { faults } = await checkCase(test, [executor], gpu);
  return faults.some((f) => f.kind === kind);
}

export function summary({ programs, tallies, found }: Outcome): string {
  const parts = executors.flatMap((e) => {
    const { ran, agreed, undetermined } = tallies[e];
    return ran === 0 ? [] : [`${e} ${agreed} of ${ran}${undetermined > 0 ? ` (${undetermined} in part)` : ""}`];
  });
  const kinds = [...found].map(([kind, times]) => `\n  ${times} x ${kind}`);
  return `${programs} programs; agreed: ${parts.join(", ")}; found ${found.size} kinds${kinds.join("")}`;
}
