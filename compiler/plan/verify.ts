/**
 * What must hold of any plan: nothing is read before it is written, everything bound exists, and limits are kept. Of plans that train: what
 * is kept is written by an entry, and parameters by entries of phase `update` alone, each that has something kept once.
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

/** Sentences about what is wrong; none when the plan is sound. */
export function verifyPlan(plan: Plan): readonly string[] {
  const ids = plan.buffers.map((b) => b.id);
  const twice = ids.filter((id, i) => ids.indexOf(id) !== i);
  return [
    ...twice.map((id) => `buffer ${id} is listed twice`),
    ...verifySizes(plan),
    ...plan.scalars.flatMap(({ id, expr }) =>
      namesIn(expr)
        .filter((name) => !Object.hasOwn(HOST_NAMES, name))
        .map((name) => `scalar ${id} is made of ${name}, which no host knows`),
    ),
    ...plan.entries.flatMap((entry) => verifyEntry(plan, entry)),
    ...verifyTraining(plan),
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
    ...plan.symbols.flatMap((symbol, i) =>
      plan.symbols.indexOf(symbol) === i ? [] : [`symbol ${symbol} is declared twice`],
    ),
    ...plan.tables.flatMap(({ id, axes }) => axes.flatMap(({ size }) => check(`table ${id}`, size))),
    ...[...plan.states, ...plan.buffers].flatMap(({ id, elements }) => check(id, elements)),
    ...plan.entries.flatMap((entry) =>
      dispatchesOf(entry).flatMap((d) => [...d.grid, d.flops, d.bytes].flatMap((size) => check(d.label, size))),
    ),
  ];
}

/** What is kept, and what may write parameters. */
function verifyTraining(plan: Plan): readonly string[] {
  const modules = new Map(plan.modules.map((m) => [m.id, m]));
  const buffers = new Set<string>();
  const stolen = new Set<string>();
  /** Parts of parameters, and how often updates write them. */
  const updates = new Map<string, number>();
  const note = (b: Binding, phase: Entry["phase"]): void => {
    if (b.kind === "buffer") buffers.add(b.id);
    if (b.kind !== "parameter") return;
    if (phase === "update") updates.set(partOf(b.path, b.part), (updates.get(partOf(b.path, b.part)) ?? 0) + 1);
    else stolen.add(b.path);
  };
  for (const { steps, phase } of plan.entries)
    for (const step of steps)
      if (step.kind === "dispatch") for (const b of writesOf(step, modules)) note(b, phase);
      else
        for (const b of step.steps.flatMap((d) => writesOf(d, modules)))
          for (const index of step.indices) note(fillIndex(b, index), phase);
  const parameters = new Map(plan.parameters.map((p) => [p.path, p]));
  const kept = plan.buffers.filter((b) => b.role === "kept" || b.kept !== null);
  const trained = new Set(kept.flatMap((b) => b.kept?.of ?? []));
  const wanted = [...trained].flatMap((path) =>
    (parameters.get(path)?.parts ?? []).map((_, part) => partOf(path, part)),
  );
  return [
    ...kept
      .filter((b) => b.role !== "kept" || b.kept === null)
      .map((b) => `buffer ${b.id} has the role ${b.role}, and ${b.kept === null ? "nothing" : "something"} kept`),
    ...kept
      .filter((b) => symbolsOf(b.elements).length > 0)
      .map((b) => `buffer ${b.id} is kept, and its size is one of a step`),
    ...kept.filter((b) => b.share !== null).map((b) => `buffer ${b.id} is kept, and shares its memory`),
    ...kept.filter((b) => !buffers.has(b.id)).map((b) => `buffer ${b.id} is kept, and no entry writes it`),
    ...[...trained]
      .filter((path) => !parameters.has(path))
      .map((path) => `something is kept of ${path}, which is no parameter`),
    ...[...stolen].map((path) => `parameter ${path} is written by an entry that is no update`),
    ...wanted
      .filter((part) => updates.get(part) !== 1)
      .map((part) => `${part} is trained, and updates write it ${updates.get(part) ?? 0} times`),
  ];
}

const partOf = (path: string, part: number): string => JSON.stringify([path, part]);

function writesOf(d: Dispatch, modules: ReadonlyMap<string, KernelModule>): readonly Binding[] {
  return d.bindings.filter((_, i) => modules.get(d.module)?.bindings[i] === "write");
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
        return true;
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
