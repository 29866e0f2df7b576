/**
 * Runs an entry of a plan on a test device: a small executor that shares nothing with the runtime's. Parameters are packed
 * element by element from the definition of the layouts; memory of a share class is one buffer.
 */
import type { Value } from "../../compiler/ops/define.ts";
import type { Parameter, Plan, SizeValues } from "../../compiler/plan/plan.ts";
import { evaluateSize, fillIndex, heldBytes } from "../../compiler/plan/plan.ts";
import { evaluateScalar } from "../../compiler/plan/scalar.ts";
import type { StepSizes, TestGpu } from "./gpu.ts";
import { bindingKey } from "./gpu.ts";
import { packArray, packMatrix, roundMatrix } from "./matrix.ts";

export interface PlanRun {
  /** Runs one step; inputs by buffer name; gives the outputs. */
  step(
    entry: string,
    sizes: Required<StepSizes>,
    inputs: Readonly<Record<string, readonly number[]>>,
  ): Promise<Record<string, Float32Array>>;
}

export interface RunLimits extends SizeValues {
  readonly T: number;
  readonly Q: number;
  readonly S: number;
  readonly P: number;
}

export function openPlan(plan: Plan, gpu: TestGpu, params: (path: string) => Value, limits: RunLimits): PlanRun {
  const fixed = new Map<string, GPUBuffer>();
  for (const p of plan.parameters) {
    p.parts.forEach((_, part) =>
      fixed.set(bindingKey({ kind: "parameter", path: p.path, part }), gpu.upload(packPart(p, part, params(p.path)))),
    );
  }
  for (const table of plan.tables) {
    const sizes = table.axes.map((a) => evaluateSize(a.size, limits));
    const data = new Float32Array(sizes.reduce((n, s) => n * s, 1)).map((_, at) => {
      const index: Record<string, number> = {};
      let rest = at;
      for (let i = sizes.length - 1; i >= 0; i--) {
        index[table.axes[i]!.name] = rest % sizes[i]!;
        rest = Math.floor(rest / sizes[i]!);
      }
      return evaluateScalar(table.expr, index);
    });
    fixed.set(bindingKey({ kind: "table", id: table.id }), gpu.upload(data));
  }
  for (const s of plan.states)
    fixed.set(
      bindingKey({ kind: "state", id: s.id }),
      gpu.upload(new Uint32Array(Math.ceil(heldBytes(s, limits) / 4))),
    );
  const shared = new Map<string, number>();
  const bytesOf = (id: string): number =>
    Math.max(16, evaluateSize(plan.buffers.find((b) => b.id === id)!.elements, limits) * 4);
  for (const b of plan.buffers) shared.set(b.share ?? b.id, Math.max(shared.get(b.share ?? b.id) ?? 0, bytesOf(b.id)));
  const memory = new Map(
    [...shared].map(([key, bytes]) => [key, gpu.upload(new Float32Array(bytes / 4).fill(Number.NaN))]),
  );
  for (const b of plan.buffers) fixed.set(bindingKey({ kind: "buffer", id: b.id }), memory.get(b.share ?? b.id)!);

  return {
    async step(name, sizes, inputs) {
      const entry = plan.entries.find((e) => e.name === name);
      if (entry === undefined) throw new Error(`no entry ${name}`);
      for (const [id, data] of Object.entries({ runs: runsOf(inputs["slot"] ?? [], limits.S), ...inputs })) {
        const buffer = fixed.get(bindingKey({ kind: "buffer", id }));
        const type = plan.buffers.find((b) => b.id === id)?.type;
        if (buffer !== undefined)
          gpu.device.queue.writeBuffer(buffer, 0, type === "f32" ? Float32Array.from(data) : Uint32Array.from(data));
      }
      // A sequence that begins has nothing kept.
      for (const [t, slot] of (inputs["slot"] ?? []).entries()) {
        if (inputs["position"]?.[t] !== 0) continue;
        for (const s of plan.states) {
          const own = evaluateSize(s.elements, limits) / limits.S;
          const buffer = fixed.get(bindingKey({ kind: "state", id: s.id }))!;
          gpu.device.queue.writeBuffer(buffer, slot * own * 4, new Float32Array(own));
        }
      }
      const flat = entry.steps.flatMap((s) =>
        s.kind === "dispatch"
          ? [{ d: s, index: null as number | null }]
          : s.indices.flatMap((index) => s.steps.map((d) => ({ d, index }))),
      );
      const prepared = await Promise.all(
        flat.map(({ d, index }) => {
          const module = plan.modules.find((m) => m.id === d.module)!;
          const bindings = index === null ? d.bindings : d.bindings.map((b) => fillIndex(b, index));
          return gpu.prepare({ module, grid: d.grid, bindings, constants: d.constants }, fixed, sizes);
        }),
      );
      await gpu.submit(prepared);
      const results = await Promise.all(
        entry.outputs.map(async (id) => {
          const count = evaluateSize(plan.buffers.find((b) => b.id === id)!.elements, sizes);
          return [
            id,
            new Float32Array(await gpu.read(fixed.get(bindingKey({ kind: "buffer", id }))!)).slice(0, count),
          ] as const;
        }),
      );
      return Object.fromEntries(results);
    },
  };
}

/** First token and number of tokens of each sequence, from the slots of the step's tokens. */
function runsOf(slot: readonly number[], sequences: number): readonly number[] {
  return Array.from({ length: sequences }, (_, s) => [slot.indexOf(s), slot.filter((x) => x === s).length])
    .flat()
    .map((x) => Math.max(0, x));
}

/** One part in its layout. */
function packPart(p: Parameter, part: number, value: Value): Uint32Array {
  const { banks, k, n, at } = cellsOf(p, part);
  const cells = Float32Array.from(at, (i) => value.data[i]!);
  return p.layout.kind === "plain" ? packArray(cells, p.storage) : packMatrix(cells, banks, k, n, p.storage);
}

/** Parameters as the formats of a plan hold them. */
export function heldBy(plan: Plan, params: (path: string) => Value): (path: string) => Value {
  return (path) => {
    const p = plan.parameters.find((own) => own.path === path)!;
    const { axes, data } = params(path);
    const held = Float64Array.from(data);
    for (const part of p.parts.keys()) {
      const { banks, k, n, at } = cellsOf(p, part);
      const cells = Float32Array.from(at, (i) => data[i]!);
      roundMatrix(cells, banks, k, n, p.storage).forEach((x, cell) => (held[at[cell]!] = x));
    }
    return { axes, data: held };
  };
}

interface Cells {
  readonly banks: number;
  readonly k: number;
  readonly n: number;
  /** Of each cell [banks, k, n] the element of the parameter. */
  readonly at: readonly number[];
}

/** What a part holds; a plain one is a single column. */
function cellsOf({ axes, layout, parts }: Parameter, part: number): Cells {
  const { start, count } = parts[part]!;
  const size = (name: string): number => axes.find((a) => a.name === name)!.size;
  const product = (names: readonly string[]): number => names.reduce((n, name) => n * size(name), 1);
  if (layout.kind === "plain") {
    const row = product(axes.slice(1).map((a) => a.name));
    return { banks: 1, k: count * row, n: 1, at: Array.from({ length: count * row }, (_, i) => start * row + i) };
  }
  const strides = new Map(axes.map(({ name }, i) => [name, product(axes.slice(i + 1).map((a) => a.name))]));
  /** Where in the parameter each index over some axes is. */
  const offsets = (names: readonly string[]): readonly number[] =>
    names.reduce<readonly number[]>(
      (all, name) => all.flatMap((o) => Array.from({ length: size(name) }, (_, i) => o + i * strides.get(name)!)),
      [0],
    );
  const cut = (list: readonly number[], axis: "bank" | "n"): readonly number[] =>
    layout.split === axis ? list.slice(start, start + count) : list;
  const [banks, ks, ns] = [cut(offsets(layout.bank), "bank"), offsets(layout.k), cut(offsets(layout.n), "n")];
  const at = banks.flatMap((b) => ks.flatMap((k) => ns.map((n) => b + k + n)));
  return { banks: banks.length, k: ks.length, n: ns.length, at };
}
