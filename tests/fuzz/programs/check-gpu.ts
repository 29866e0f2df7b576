/**
 * A program on a device, with one of the kinds of kernels that it can run: of causal programs several sequences of unequal lengths, in pieces
 * of several tokens and then token by token, of others each sequence at once. Every element is held to the oracle.
 */
import type { Program } from "../../../compiler/graph/node.ts";
import { TIME, hasAxis } from "../../../compiler/graph/type.ts";
import type { Value } from "../../../compiler/ops/define.ts";
import { compileProgram } from "../../../compiler/pipeline.ts";
import { evaluateProgram } from "../../../compiler/reference/interpret.ts";
import type { TestGpu } from "../../support/gpu.ts";
import { openPlan } from "../../support/plan-run.ts";
import { Draw } from "../../support/random-models.ts";
import { type Given, bind, paramsOf } from "./bindings.ts";
import { type Claim, type Verdict, float32, judge } from "./determined.ts";
import { type Case, LONGEST } from "./generate.ts";
import { type Variant, drawVariant } from "./variants.ts";

/** Runs a case as its seed says, or with the given variant. */
export async function checkGpu(test: Case, gpu: TestGpu, variant?: Variant): Promise<Verdict> {
  const draw = new Draw(test.seed);
  const own = variant ?? drawVariant(gpu, draw);
  try {
    const verdict = test.whole ? await runWhole(test, gpu, own, draw) : await runPieces(test, gpu, own, draw);
    return { ...verdict, wrong: verdict.wrong.map((w) => `${own.name}: ${w}`) };
  } finally {
    gpu.release();
  }
}

/** A piece of a sequence: tokens `from` to `to` of it. */
interface Piece {
  readonly sequence: number;
  readonly from: number;
  readonly to: number;
}

async function runPieces({ program, kind }: Case, gpu: TestGpu, variant: Variant, draw: Draw): Promise<Verdict> {
  const longest = drawLongest(draw);
  const lengths = Array.from({ length: 1 + draw.below(3) }, (_, i) => (i === 0 ? longest : 1 + draw.below(longest)));
  const regimes =
    variant.regime === undefined
      ? draw.of([["prefill", "decode"], ["prefill"], ["decode"]] as const)
      : [variant.regime];
  const given = lengths.map((T, s) => bind(program, kind, T, s));
  const expected = given.map((g) => evaluateProgram(program, g));
  const plan = compile(program, gpu, variant, regimes, longest);
  const limits = { T: longest * 3, Q: longest * 3, S: lengths.length, P: longest + draw.below(3) };
  const run = openPlan(plan, folding(gpu, variant), paramsOf(program, kind), limits);
  const names = program.main.outputs.map((o) => o.name);
  const found = lengths.map(() => new Map<string, Map<number, number>>(names.map((n) => [n, new Map()])));
  const totals = new Map<string, Float64Array>();
  for (const { regime, pieces } of schedule(lengths, regimes, draw)) {
    const tokens = pieces.flatMap((p) =>
      Array.from({ length: p.to - p.from }, (_, i) => [p.sequence, p.from + i] as const),
    );
    // Results of all tokens, or of some.
    const all = tokens.map((_, i) => i);
    const some = draw.next() < 0.3 ? all.filter(() => draw.next() < 0.6) : all;
    const wanted = some.length > 0 ? some : all;
    const sizes = { T: tokens.length, Q: wanted.length, S: lengths.length, P: limits.P };
    const outputs = await run.step(`all.${regime}`, sizes, {
      position: tokens.map(([, t]) => t),
      slot: tokens.map(([s]) => s),
      length: tokens.map(([s]) => lengths[s]!),
      wanted,
      ...inputsOf(program, given, tokens),
    });
    for (const { name, role, node } of program.main.outputs) {
      const result = numbersOf(outputs[name]!, node.type.dtype);
      if (role === "metric") {
        const sum = totals.get(name) ?? new Float64Array(result.length);
        totals.set(
          name,
          sum.map((x, i) => x + result[i]!),
        );
        continue;
      }
      const { outer, inner } = aroundTime(expected[0]![name]!);
      wanted.forEach((token, row) => {
        const [s, t] = tokens[token]!;
        const T = lengths[s]!;
        for (let o = 0; o < outer; o++)
          for (let i = 0; i < inner; i++)
            found[s]!.get(name)!.set((o * T + t) * inner + i, result[(o * wanted.length + row) * inner + i]!);
      });
    }
  }
  const verdicts = given.map((g, s): Verdict => {
    const claims = [...found[s]!].flatMap(([output, at]): Claim[] =>
      totals.has(output) ? [] : [{ output, places: [...at.keys()], found: [...at.values()] }],
    );
    const { wrong, undetermined } = judge(program, g, expected[s]!, claims, float32);
    return {
      wrong: wrong.map((w) => `sequence ${s} of ${lengths.join(", ")}, ${regimes.join(" and ")}: ${w}`),
      undetermined,
    };
  });
  // The parts of a metric add up over steps and sequences; with one sequence the oracle has the same sum.
  if (lengths.length === 1) {
    const claims = [...totals].map(([output, values]) => ({ output, found: values }));
    verdicts.push(judge(program, given[0]!, expected[0]!, claims, float32));
  }
  return together(verdicts);
}

async function runWhole({ program, kind }: Case, gpu: TestGpu, variant: Variant, draw: Draw): Promise<Verdict> {
  const longest = drawLongest(draw);
  const lengths = [longest, 2 + draw.below(longest - 2)];
  const plan = compile(program, gpu, variant, ["whole"], longest);
  const params = paramsOf(program, kind);
  const run = openPlan(plan, folding(gpu, variant), params, { T: longest, Q: longest, S: 1, P: longest });
  const verdicts: Verdict[] = [];
  for (const [s, T] of lengths.entries()) {
    const given = bind(program, kind, T, s);
    const all = Array.from({ length: T }, (_, i) => i);
    const outputs = await run.step(
      "all.whole",
      { T, Q: T, S: 1, P: longest },
      {
        position: all,
        slot: all.map(() => 0),
        length: all.map(() => T),
        wanted: all,
        ...Object.fromEntries(Object.entries(given.inputs).map(([name, v]) => [name, [...v.data]])),
      },
    );
    const expected = evaluateProgram(program, given);
    const claims = program.main.outputs.map(({ name, node }) => ({
      output: name,
      found: numbersOf(outputs[name]!, node.type.dtype),
    }));
    const verdict = judge(program, given, expected, claims, float32);
    verdicts.push({ ...verdict, wrong: verdict.wrong.map((w) => `whole sequence of ${T}: ${w}`) });
  }
  return together(verdicts);
}

function compile(
  program: Program,
  gpu: TestGpu,
  variant: Variant,
  regimes: readonly ("prefill" | "decode" | "whole")[],
  stepTokens: number,
) {
  const { facts = {}, force = {}, storage = "f32" } = variant;
  const computes = program.main.outputs.map((o) => o.name);
  return compileProgram(program, {
    model: "random",
    device: { ...gpu.facts, ...facts },
    storage: () => storage,
    entries: [{ output: "all", computes, regimes }],
    stepTokens,
    force,
    verify: true,
  });
}

/** Mostly as long as what the program grew with; now and then longer than tiles of kernels are high. */
function drawLongest(draw: Draw): number {
  return draw.next() < 0.75 ? LONGEST : draw.of([17, 37, 66]);
}

function folding(gpu: TestGpu, { workgroups }: Variant): TestGpu {
  if (workgroups === undefined) return gpu;
  return { ...gpu, prepare: (kernel, buffers, sizes) => gpu.prepare(kernel, buffers, sizes, workgroups) };
}

/** Steps that bring every sequence to its end: some begin later than others, and a step has pieces of several or of one. */
function schedule(
  lengths: readonly number[],
  regimes: readonly ("prefill" | "decode")[],
  draw: Draw,
): readonly { readonly regime: "prefill" | "decode"; readonly pieces: readonly Piece[] }[] {
  const at = lengths.map(() => 0);
  const steps: { regime: "prefill" | "decode"; pieces: Piece[] }[] = [];
  while (at.some((t, s) => t < lengths[s]!)) {
    const regime = steps.length === 0 ? regimes[0]! : draw.of(regimes);
    const pieces = at.flatMap((from, sequence): Piece[] => {
      const left = lengths[sequence]! - from;
      if (left === 0 || draw.next() < 0.3) return [];
      // Of long sequences most are in large pieces, so that steps are not too many.
      const to = from + (regime === "decode" && left <= LONGEST ? 1 : 1 + Math.max(draw.below(left), draw.below(left)));
      at[sequence] = to;
      return [{ sequence, from, to }];
    });
    if (pieces.length > 0) steps.push({ regime, pieces: draw.next() < 0.5 ? pieces : pieces.toReversed() });
  }
  return steps;
}

/** Inputs of a step: rows of its tokens; what a sequence has once, of all sequences. */
function inputsOf(
  program: Program,
  given: readonly Given[],
  tokens: readonly (readonly [sequence: number, position: number])[],
): Readonly<Record<string, readonly number[]>> {
  return Object.fromEntries(
    program.main.inputs.map(({ attrs: { name, type } }) => {
      if (!hasAxis(type, TIME)) return [name, given.flatMap((g) => [...g.inputs[name]!.data])];
      const { outer, inner } = aroundTime(given[0]!.inputs[name]!);
      const data: number[] = [];
      for (let o = 0; o < outer; o++)
        for (const [s, t] of tokens) {
          const first = (o * given[s]!.sizes.T + t) * inner;
          data.push(...given[s]!.inputs[name]!.data.subarray(first, first + inner));
        }
      return [name, data];
    }),
  );
}

/** How many elements lie outside and inside of the time axis. */
function aroundTime({ axes }: Value): { readonly outer: number; readonly inner: number } {
  const at = axes.findIndex((a) => a.name === TIME);
  const count = (part: Value["axes"]): number => part.reduce((n, a) => n * a.size, 1);
  return { outer: count(axes.slice(0, at)), inner: count(axes.slice(at + 1)) };
}

function numbersOf(data: Float32Array, dtype: string): ArrayLike<number> {
  if (dtype === "f32") return data;
  return dtype === "i32"
    ? new Int32Array(data.buffer, data.byteOffset, data.length)
    : new Uint32Array(data.buffer, data.byteOffset, data.length);
}

function together(verdicts: readonly Verdict[]): Verdict {
  return {
    wrong: verdicts.flatMap((v) => v.wrong).slice(0, 4),
    undetermined: verdicts.reduce((n, v) => n + v.undetermined, 0),
  };
}
