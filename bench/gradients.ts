/**
 * Times forward, and forward with backward, of a checkpoint on the adapter at hand: one sequence per step, all gradients as outputs. Rounds
 * are interleaved. With `--parts` also each dispatch of the backward program alone, the dearest first.
 * `node bench/gradients.ts [folder] [tokens] [--parts]`
 */
import { buildProgram, newContext } from "../compiler/index.ts";
import { compileProgram } from "../compiler/pipeline.ts";
import type { Binding, Dispatch, Entry, Plan } from "../compiler/plan/plan.ts";
import { evaluateSize } from "../compiler/plan/plan.ts";
import { gradientProgram } from "../compiler/training/gradient-program.ts";
import { loadModel } from "../runtime/load/load-model.ts";
import { type Prepared, bindingKey, openTestGpu } from "../tests/support/gpu.ts";
import { median } from "./engine.ts";

const ROUNDS = 7;
const [folder = "examples/checkpoints/seed", tokens = "256"] = process.argv.slice(2).filter((a) => !a.startsWith("--"));
const T = Number(tokens);
const gpu = await openTestGpu();
const { model, checkpoint } = await loadModel(folder);
const ctx = newContext();
const { program: both } = gradientProgram(buildProgram(model.instance, ctx), 1, ctx.builder)!;
await checkpoint.close();
const forward = { ...both, main: { ...both.main, outputs: both.main.outputs.filter((o) => o.name === "loss") } };
const sizes = { T, Q: T, S: 1, P: T };

interface Run {
  readonly name: string;
  readonly plan: Plan;
  readonly steps: readonly { readonly dispatch: Dispatch; readonly prepared: Prepared }[];
  readonly flops: number;
  readonly seconds: number[];
}

async function open(name: string, of: typeof both): Promise<Run> {
  const began = performance.now();
  const plan = compileProgram(of, {
    model: "gradients",
    device: gpu.facts,
    storage: () => "f32",
    entries: [{ output: "loss", computes: of.main.outputs.map((o) => o.name), regimes: ["whole"] }],
  });
  console.log(`${name}: compiled in ${((performance.now() - began) / 1000).toFixed(1)} s`);
  const buffers = new Map<string, GPUBuffer>();
  const give = (binding: Binding, bytes: number): GPUBuffer => {
    const data = new Uint32Array(Math.ceil(Math.max(16, bytes) / 4));
    const buffer = gpu.upload(binding.kind === "buffer" ? data : new Float32Array(data.length).fill(0.01));
    buffers.set(bindingKey(binding), buffer);
    return buffer;
  };
  for (const p of plan.parameters)
    p.parts.forEach((x, part) => give({ kind: "parameter", path: p.path, part }, x.bytes));
  for (const t of plan.tables)
    give({ kind: "table", id: t.id }, 4 * t.axes.reduce((n, a) => n * evaluateSize(a.size, sizes), 1));
  for (const s of plan.states) give({ kind: "state", id: s.id }, 4 * evaluateSize(s.elements, sizes));
  const shared = new Map<string, number>();
  for (const b of plan.buffers)
    shared.set(b.share ?? b.id, Math.max(shared.get(b.share ?? b.id) ?? 16, 4 * evaluateSize(b.elements, sizes)));
  const memory = new Map([...shared].map(([key, bytes]) => [key, give({ kind: "buffer", id: key }, bytes)]));
  for (const b of plan.buffers) buffers.set(bindingKey({ kind: "buffer", id: b.id }), memory.get(b.share ?? b.id)!);
  const write = (id: string, data: ArrayLike<number>, type: "u32" | "f32" = "u32"): void => {
    const buffer = buffers.get(bindingKey({ kind: "buffer", id }));
    if (buffer === undefined) return;
    gpu.device.queue.writeBuffer(buffer, 0, type === "f32" ? Float32Array.from(data) : Uint32Array.from(data));
  };
  const all = Array.from({ length: T }, (_, t) => t);
  for (const id of ["position", "wanted"]) write(id, all);
  write(
    "length",
    all.map(() => T),
  );
  for (const id of ["ids", "target"])
    write(
      id,
      all.map((t) => (t * 37) % 97),
    );
  write(
    "counted",
    all.map(() => 1),
    "f32",
  );
  write("runs", [0, T]);
  const [entry] = plan.entries as [Entry];
  const steps: Run["steps"][number][] = [];
  let flops = 0;
  for (const step of entry.steps) {
    const [dispatches, indices] = step.kind === "dispatch" ? [[step], [null]] : [step.steps, step.indices];
    for (const index of indices as readonly (number | null)[])
      for (const dispatch of dispatches) {
        const module = plan.modules.find((m) => m.id === dispatch.module)!;
        const bound = JSON.parse(JSON.stringify(dispatch.bindings).replaceAll("#", `${index}`)) as Binding[];
        const prepared = await gpu.prepare({ ...dispatch, module, bindings: bound }, buffers, sizes);
        steps.push({ dispatch, prepared });
        flops += evaluateSize(dispatch.flops, sizes);
      }
  }
  await gpu.submit(steps.map((s) => s.prepared));
  return { name, plan, steps, flops, seconds: [] };
}

const runs = [await open("forward", forward), await open("forward and backward", both)];
for (let round = 0; round < ROUNDS; round++)
  for (const run of runs) {
    const start = performance.now();
    await gpu.submit(run.steps.map((s) => s.prepared));
    run.seconds.push((performance.now() - start) / 1000);
  }
console.log(`${folder}, ${T} tokens, ${gpu.device.adapterInfo.description}; median of ${ROUNDS} rounds`);
console.table(
  runs.map(({ name, steps, flops, seconds }) => ({
    program: name,
    dispatches: steps.length,
    "MFLOP per token": (flops / T / 1e6).toFixed(2),
    ms: (median(seconds) * 1000).toFixed(1),
    "best ms": (Math.min(...seconds) * 1000).toFixed(1),
    "tokens/s": (T / median(seconds)).toFixed(0),
    "GFLOP/s": (flops / median(seconds) / 1e9).toFixed(1),
  })),
);
if (process.argv.includes("--parts")) {
  const parts = new Map<string, { count: number; ms: number; flops: number }>();
  for (const { dispatch, prepared } of runs[1]!.steps) {
    const start = performance.now();
    await gpu.submit([prepared], 3);
    const ms = (performance.now() - start) / 3;
    const known = parts.get(dispatch.label) ?? { count: 0, ms: 0, flops: 0 };
    const flops = known.flops + evaluateSize(dispatch.flops, sizes);
    parts.set(dispatch.label, { count: known.count + 1, ms: known.ms + ms, flops });
  }
  console.table(
    [...parts]
      .sort(([, a], [, b]) => b.ms - a.ms)
      .slice(0, 30)
      .map(([label, { count, ms, flops }]) => ({
        dispatch: label.slice(0, 80),
        count,
        ms: ms.toFixed(1),
        "GFLOP/s": (flops / ms / 1e6).toFixed(1),
      })),
  );
}
gpu.close();
process.exit(0);
