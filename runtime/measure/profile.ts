/**
 * Where the time of a step goes: each dispatch in a pass of its own with timestamps at both ends, summed over the layers
 * that share a kernel. Passes that cannot overlap take longer in sum than one step does: shares are to be trusted, not totals.
 */
import { evaluateSize } from "../../compiler/plan/plan.ts";
import { failure } from "../../grammar/diagnostic.ts";
import { checkOptions, needed, type Rules, text, whole } from "../../grammar/option.ts";
import type { StepSizes } from "../gpu/buffers.ts";
import { type Roofline, measureRoofline } from "./roofline.ts";
import { BufferUsage, MapMode } from "../gpu/flags.ts";
import type { Executor } from "../gpu/execute.ts";
import type { StepInput } from "../session/feed.ts";
import type { Session } from "../session/session.ts";
import type { Steps } from "../session/steps.ts";

/** A kernel of a step, over all its dispatches. */
export interface ProfileRow {
  readonly label: string;
  /** `file.moe:12:3`, where what it computes is written. */
  readonly origin: string | null;
  readonly module: string;
  readonly dispatches: number;
  /** Of one step: the median over runs. */
  readonly microseconds: number;
  /** Of the step's sum over all kernels, 0 to 1. */
  readonly share: number;
  /** Floating-point operations and bytes touched in one step, as the compiler counts them, and both per second. */
  readonly flops: number;
  readonly bytes: number;
  readonly flopsPerSecond: number;
  readonly bytesPerSecond: number;
  /** Of the nearer of the device's two sides of the roofline, 0 to 1. */
  readonly ofRoofline: number;
}

export interface Profile {
  readonly entry: string;
  readonly sizes: StepSizes;
  /** Slowest first. */
  readonly rows: readonly ProfileRow[];
  readonly roofline: Roofline;
}

export interface ProfileOptions {
  /** Tokens of the step, at most as many as one holds, and how many are in the context before them. */
  readonly tokens: number;
  readonly context?: number;
  readonly output?: string;
  readonly runs?: number;
}

/**
 * Profiles a step of one sequence. Its tokens are zeros, and so is what the context holds: time does not depend on values
 * but where routing decides who computes. Empties slot 0. Throws `device/no-timestamps`.
 */
export async function profileSession(session: Session, options: ProfileOptions): Promise<Profile> {
  checkOptions("profileSession", options, PROFILE_RULES);
  return session.exclusively("profileSession", (steps) => profileStep(steps, options));
}

const PROFILE_RULES: Rules<ProfileOptions> = {
  tokens: needed(whole(1)),
  context: whole(0),
  output: text,
  runs: whole(1, 10_000),
};

async function profileStep(
  steps: Steps,
  { tokens: wanted, context = 0, output = "logits", runs = 5 }: ProfileOptions,
): Promise<Profile> {
  const tokens = Math.min(
    wanted,
    steps.mostTokens(() => 1),
  );
  steps.reset(0);
  const ids = new Uint32Array(tokens);
  await steps.admit([{ slot: 0, start: context, length: context + tokens, ids }]);
  const input: StepInput = {
    ids,
    position: Uint32Array.from({ length: tokens }, (_, i) => context + i),
    slot: new Uint32Array(tokens),
    length: new Uint32Array(tokens).fill(context + tokens),
    wanted: Uint32Array.of(tokens - 1),
    rows: [],
  };
  const { name, sizes } = await steps.load(output, input, new Uint32Array(tokens));
  try {
    const roofline = await measureRoofline(steps.executor.device);
    const rows = await profileEntry(steps.executor, name, sizes, roofline, runs);
    return { entry: name, sizes, rows, roofline };
  } finally {
    steps.reset(0);
  }
}

/** Profiles an entry whose inputs are written. */
async function profileEntry(
  executor: Executor,
  name: string,
  sizes: StepSizes,
  roofline: Roofline,
  runs: number,
): Promise<readonly ProfileRow[]> {
  const steps = await executor.stepsOf(name);
  // The first run compiles shaders on some drivers.
  await timeSteps(executor, name, sizes, steps.length);
  const samples: Float64Array[] = [];
  for (let run = 0; run < runs; run++) samples.push(await timeSteps(executor, name, sizes, steps.length));
  const byKernel = new Map<string, number[]>();
  steps.forEach(({ dispatch }, i) => {
    const key = `${dispatch.module} ${dispatch.label}`;
    byKernel.set(key, [...(byKernel.get(key) ?? []), i]);
  });
  const rows = [...byKernel.values()].map((indices) => {
    const { label, origin, module } = steps[indices[0]!]!.dispatch;
    const sum = (value: (i: number) => number): number => indices.reduce((n, i) => n + value(i), 0);
    const microseconds = median(samples.map((sample) => sum((i) => sample[i]!)));
    const flops = sum((i) => evaluateSize(steps[i]!.dispatch.flops, sizes));
    const bytes = sum((i) => evaluateSize(steps[i]!.dispatch.bytes, sizes));
    const [flopsPerSecond, bytesPerSecond] = [flops, bytes].map((n) =>
      microseconds > 0 ? (n * 1e6) / microseconds : 0,
    ) as [number, number];
    const ofRoofline = Math.max(flopsPerSecond / roofline.flops, bytesPerSecond / roofline.bytes);
    return {
      label,
      origin,
      module,
      dispatches: indices.length,
      microseconds,
      flops,
      bytes,
      flopsPerSecond,
      bytesPerSecond,
      ofRoofline,
    };
  });
  const total = rows.reduce((n, row) => n + row.microseconds, 0);
  return rows
    .map((row) => ({ ...row, share: total > 0 ? row.microseconds / total : 0 }))
    .sort((a, b) => b.microseconds - a.microseconds);
}

/** The most timestamps of one query set that WebGPU promises. */
const MOST_QUERIES = 4096;

/** Microseconds of each dispatch of one step. */
async function timeSteps(executor: Executor, name: string, sizes: StepSizes, count: number): Promise<Float64Array> {
  const { device } = executor;
  if (!device.hasTimestamps)
    throw failure("device/no-timestamps", `\`${device.adapter.name}\` cannot time single kernels`, {
      help: "choose another adapter, or measure whole steps",
    });
  const { gpu } = device;
  const perSet = MOST_QUERIES / 2;
  const sets = Array.from({ length: Math.ceil(count / perSet) }, (_, s) =>
    gpu.createQuerySet({ type: "timestamp", count: 2 * Math.min(perSet, count - s * perSet) }),
  );
  const size = count * 16;
  const resolved = gpu.createBuffer({
    label: "timestamps",
    size,
    usage: BufferUsage.QUERY_RESOLVE | BufferUsage.COPY_SRC,
  });
  const staging = gpu.createBuffer({ label: "timestamps", size, usage: BufferUsage.MAP_READ | BufferUsage.COPY_DST });
  try {
    const writes = (i: number): GPUComputePassTimestampWrites => ({
      querySet: sets[Math.floor(i / perSet)]!,
      beginningOfPassWriteIndex: 2 * (i % perSet),
      endOfPassWriteIndex: 2 * (i % perSet) + 1,
    });
    await executor.runTimed(name, sizes, writes, {
      after(encoder) {
        sets.forEach((set, s) => encoder.resolveQuerySet(set, 0, set.count, resolved, s * perSet * 16));
        encoder.copyBufferToBuffer(resolved, 0, staging, 0, size);
      },
    });
    await device.wait(staging.mapAsync(MapMode.READ));
    const times = new BigUint64Array(staging.getMappedRange());
    return Float64Array.from(
      { length: count },
      (_, i) => Math.max(0, Number(times[2 * i + 1]! - times[2 * i]!)) / 1000,
    );
  } finally {
    resolved.destroy();
    staging.destroy();
    for (const set of sets) set.destroy();
  }
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : ((sorted[middle - 1] ?? 0) + (sorted[middle] ?? 0)) / 2;
}
