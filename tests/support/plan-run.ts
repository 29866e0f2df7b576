/**
 * Runs an entry of a plan on a test device: a small executor that shares nothing with the runtime's. Parameters are packed
 * element by element from the definition of the layouts; memory of a share class is one buffer.
 */
import type { Value } from "../../compiler/ops/define.ts";
import type { Parameter, Plan, SizeValues } from "../../compiler/plan/plan.ts";
import { evaluateSize } from "../../compiler/plan/plan.ts";
import { evaluateScalar } from "../../compiler/plan/scalar.ts";
import type { StepSizes, TestGpu } from "./gpu.ts";
import { bindingKey } from "./gpu.ts";

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
    fixed.set(bindingKey({ kind: "state", id: s.id }), gpu.upload(new Float32Array(evaluateSize(s.elements, limits))));
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
          const bind = (text: string): string => (index === null ? text : text.replaceAll("#", `${index}`));
          const bindings = d.bindings.map((b) =>
            b.kind === "parameter" ? { ...b, path: bind(b.path) } : b.kind === "state" ? { ...b, id: bind(b.id) } : b,
          );
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

/** The bytes of one part, from the definition of the layouts in `plan.ts`. */
function packPart(p: Parameter, part: number, value: Value): Uint32Array {
  const { start, count, bytes } = p.parts[part]!;
  const out = new Uint32Array(Math.ceil(bytes / 16) * 4);
  const size = (name: string): number => p.axes.find((a) => a.name === name)!.size;
  const flat = (names: readonly string[], index: ReadonlyMap<string, number>): number =>
    names.reduce((sum, n) => sum * size(n) + index.get(n)!, 0);
  const product = (names: readonly string[]): number => names.reduce((n, name) => n * size(name), 1);
  const names = p.axes.map((a) => a.name);
  value.data.forEach((x, at) => {
    const index = new Map<string, number>();
    let rest = at;
    for (const name of [...names].reverse()) {
      index.set(name, rest % size(name));
      rest = Math.floor(rest / size(name));
    }
    if (p.layout.kind === "plain") {
      const [first] = names;
      const skip = first === undefined ? 0 : start * product(names.slice(1));
      const i = flat(names, index) - skip;
      if (i < 0 || (first !== undefined && i >= count * product(names.slice(1)))) return;
      if (p.storage === "f32") putFloat(out, i, x);
      else putHalf(out, i >> 1, i & 1, half(x, p.storage));
      return;
    }
    const { layout } = p;
    const [bank, k, n] = [flat(layout.bank, index), flat(layout.k, index), flat(layout.n, index)];
    const own = layout.split === "bank" ? { bank: bank - start, n } : { bank, n: n - start };
    if ((layout.split === "bank" ? own.bank : own.n) < 0 || (layout.split === "bank" ? own.bank : own.n) >= count)
      return;
    const k4 = Math.ceil(product(layout.k) / 4) * 4;
    const columns = layout.split === "n" ? count : product(layout.n);
    const n4 = Math.ceil(columns / 4) * 4;
    if (p.storage === "f32") putFloat(out, (own.bank * k4 + k) * n4 + own.n, x);
    else putHalf(out, (own.bank * (k4 / 2) + (k >> 1)) * n4 + own.n, k & 1, half(x, p.storage));
  });
  return out;
}

const floats = new Float32Array(1);
const words = new Uint32Array(floats.buffer);

function putFloat(out: Uint32Array, at: number, x: number): void {
  floats[0] = x;
  out[at] = words[0]!;
}

function putHalf(out: Uint32Array, at: number, side: number, bits: number): void {
  out[at] = (out[at]! | (bits << (16 * side))) >>> 0;
}

/** Bits of a value that the type represents exactly: tests choose such values. */
function half(x: number, storage: "f16" | "bf16"): number {
  floats[0] = x;
  const bits = words[0]!;
  if (storage === "bf16") return bits >>> 16;
  const exponent = ((bits >>> 23) & 255) - 112;
  if (x === 0 || exponent <= 0) return 0;
  return ((bits >>> 16) & 0x8000) | (exponent << 10) | ((bits >>> 13) & 0x3ff);
}
