/**
 * What must hold of any plan: names are one thing's each, nothing is read before it is written, everything bound exists and is bound as what it
 * is, and limits are kept. What plans that train say besides is in `verify-training.ts`.
 */
import {
  type Binding,
  type Dispatch,
  type Entry,
  fillIndex,
  HOST_NAMES,
  type KernelModule,
  type Plan,
  type Size,
  symbolsOf,
} from "./plan.ts";
import { namesIn } from "./scalar.ts";
import { verifyTraining } from "./verify-training.ts";

/** Sentences about what is wrong; none when the plan is sound. */
export function verifyPlan(plan: Plan): readonly string[] {
  return [
    ...verifyNames(plan),
    ...verifySizes(plan),
    // The runtime, and what is kept of training, read and write whole numbers of 4 bytes.
    ...plan.buffers
      .filter((b) => b.store !== "f32" && (b.role !== "temporary" || b.type !== "f32"))
      .map((b) => `buffer ${b.id} is in ${b.store}, and only numbers f32 between kernels may be in other than 4 bytes`),
    ...plan.scalars.flatMap(({ id, expr }) =>
      namesIn(expr)
        .filter((name) => !Object.hasOwn(HOST_NAMES, name))
        .map((name) => `scalar ${id} is made of ${name}, which no host knows`),
    ),
    ...plan.entries.flatMap((entry) => verifyEntry(plan, entry)),
    ...verifyTraining(plan),
  ];
}

/** Each name is one thing's, and none has the `#` that bindings have for an index. */
function verifyNames(plan: Plan): readonly string[] {
  const bound = [
    ["buffer", plan.buffers.map((b) => b.id)],
    ["parameter", plan.parameters.map((p) => p.path)],
    ["table", plan.tables.map((t) => t.id)],
    ["state", plan.states.map((s) => s.id)],
  ] as const;
  const others = [
    ["symbol", plan.symbols],
    ["scalar", plan.scalars.map((s) => s.id)],
    ["module", plan.modules.map((m) => m.id)],
    ["entry", plan.entries.map((e) => e.name)],
  ] as const;
  return [
    ...[...bound, ...others].flatMap(([what, names]) => {
      const seen = new Set<string>();
      return names.filter((name) => seen.size === seen.add(name).size).map((name) => `${what} ${name} is listed twice`);
    }),
    ...bound.flatMap(([what, names]) =>
      names
        .filter((name) => name.includes("#"))
        .map((name) => `${what} ${name} has # in its name, which stands for an index`),
    ),
  ];
}

/** Every symbol of a size is one of the plan's. */
function verifySizes(plan: Plan): readonly string[] {
  const declared = new Set(plan.symbols);
  const check = (what: string, size: Size): readonly string[] =>
    [...new Set(symbolsOf(size))]
      .filter((symbol) => !declared.has(symbol))
      .map((symbol) => `${what} has a size in ${symbol}, which the plan does not declare`);
  return [
    ...plan.tables.flatMap(({ id, axes }) => axes.flatMap(({ size }) => check(`table ${id}`, size))),
    ...[...plan.states, ...plan.buffers].flatMap(({ id, elements }) => check(id, elements)),
    ...plan.entries.flatMap((entry) =>
      dispatchesOf(entry).flatMap((d) => [...d.grid, d.flops, d.bytes].flatMap((size) => check(d.label, size))),
    ),
  ];
}

function dispatchesOf({ steps }: Entry): readonly Dispatch[] {
  return steps.flatMap((step) => (step.kind === "dispatch" ? [step] : step.steps));
}

function verifyEntry(plan: Plan, entry: Entry): readonly string[] {
  const problems: string[] = [];
  const buffers = new Map(plan.buffers.map((b) => [b.id, b]));
  const modules = new Map(plan.modules.map((m) => [m.id, m]));
  const parameters = new Map(plan.parameters.map((p) => [p.path, p]));
  const states = new Set(plan.states.map((s) => s.id));
  const tables = new Set(plan.tables.map((t) => t.id));
  const written = new Set(
    plan.buffers.filter(({ role }) => role === "input" || role === "per-sequence" || role === "kept").map((b) => b.id),
  );
  /** The buffer that a shared piece of memory holds now. */
  const holds = new Map<string, string>();

  const exists = (b: Binding): boolean => {
    switch (b.kind) {
      case "step":
        return plan.symbols.length > 0;
      case "scalars":
        return plan.scalars.length > 0;
      case "buffer":
        return buffers.has(b.id);
      case "parameter":
        return (parameters.get(b.path)?.parts[b.part] ?? null) !== null;
      case "table":
        return tables.has(b.id);
      case "state":
        return states.has(b.id);
      default:
        return b satisfies never;
    }
  };
  const check = (d: Dispatch): void => {
    const say = (text: string): void => void problems.push(`${entry.name}: ${d.label}: ${text}`);
    const module = modules.get(d.module);
    if (module === undefined) return say(`there is no module ${d.module}`);
    if (module.bindings.length !== d.bindings.length)
      say(`${d.bindings.length} bindings for a module with ${module.bindings.length}`);
    if (storageBuffers(module) > plan.device.maxStorageBuffers)
      say(`binds more than ${plan.device.maxStorageBuffers} storage buffers`);
    if (module.workgroup.reduce((a, b) => a * b) > plan.device.maxInvocations) say("its workgroup is too large");
    const memory = (b: Binding): string =>
      b.kind === "buffer" ? (buffers.get(b.id)?.share ?? b.id) : JSON.stringify(b);
    d.bindings.forEach((b, i) => {
      if (!exists(b)) return say(`binds ${JSON.stringify(b)}, which does not exist`);
      const access = module.bindings[i];
      if ((access === "uniform") !== (b.kind === "step" || b.kind === "scalars"))
        say(`binds ${JSON.stringify(b)} as ${access}`);
      const others = d.bindings.filter((_, j) => j !== i).map(memory);
      if (access === "write" && others.includes(memory(b))) say(`writes ${memory(b)}, which it binds a second time`);
      if (b.kind !== "buffer" || access !== "read") return;
      const share = buffers.get(b.id)?.share ?? null;
      if (!written.has(b.id)) say(`reads buffer ${b.id} before it is written`);
      else if (share !== null && holds.get(share) !== b.id)
        say(`reads buffer ${b.id}, but ${share} now holds ${holds.get(share)}`);
    });
    d.bindings.forEach((b, i) => {
      if (b.kind !== "buffer" || module.bindings[i] !== "write") return;
      written.add(b.id);
      const share = buffers.get(b.id)?.share ?? null;
      if (share !== null) holds.set(share, b.id);
    });
  };
  for (const step of entry.steps) {
    if (step.kind === "dispatch") check(step);
    else
      for (const index of step.indices)
        for (const d of step.steps) check({ ...d, bindings: d.bindings.map((b) => fillIndex(b, index)) });
  }
  for (const id of entry.outputs) if (!written.has(id)) problems.push(`${entry.name}: output ${id} is never written`);
  return problems;
}

/** What counts against the device's limit of storage buffers. */
export function storageBuffers({ bindings }: Pick<KernelModule, "bindings">): number {
  return bindings.filter((b) => b !== "uniform").length;
}
