/** What must hold of any plan: nothing is read before it is written, everything bound exists, and limits are kept. */
import type { Binding, Dispatch, Entry, KernelModule, Plan } from "../../plan/plan.ts";

/** Sentences about what is wrong; none when the plan is sound. */
export function verifyPlan(plan: Plan): readonly string[] {
  const ids = plan.buffers.map((b) => b.id);
  const twice = ids.filter((id, i) => ids.indexOf(id) !== i);
  return [
    ...twice.map((id) => `buffer ${id} is listed twice`),
    ...plan.entries.flatMap((entry) => verifyEntry(plan, entry)),
  ];
}

function verifyEntry(plan: Plan, entry: Entry): readonly string[] {
  const problems: string[] = [];
  const buffers = new Map(plan.buffers.map((b) => [b.id, b]));
  const modules = new Map(plan.modules.map((m) => [m.id, m]));
  const parameters = new Map(plan.parameters.map((p) => [p.path, p]));
  const states = new Set(plan.states.map((s) => s.id));
  const tables = new Set(plan.tables.map((t) => t.id));
  const written = new Set(plan.buffers.filter((b) => b.role === "input" || b.role === "per-sequence").map((b) => b.id));
  /** The buffer that a shared piece of memory holds now. */
  const holds = new Map<string, string>();

  const exists = (b: Binding, index: number | null): boolean => {
    const name = (text: string): string => (index === null ? text : text.replaceAll("#", `${index}`));
    switch (b.kind) {
      case "step":
        return true;
      case "buffer":
        return buffers.has(b.id);
      case "parameter":
        return (parameters.get(name(b.path))?.parts[b.part] ?? null) !== null;
      case "table":
        return tables.has(b.id);
      case "state":
        return states.has(name(b.id));
    }
  };
  const check = (d: Dispatch, index: number | null): void => {
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
      if (!exists(b, index)) return say(`binds ${JSON.stringify(b)}, which does not exist`);
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
    if (step.kind === "dispatch") check(step, null);
    else for (const index of step.indices) for (const d of step.steps) check(d, index);
  }
  for (const id of entry.outputs) if (!written.has(id)) problems.push(`${entry.name}: output ${id} is never written`);
  return problems;
}

/** What counts against the device's limit of storage buffers. */
export function storageBuffers({ bindings }: Pick<KernelModule, "bindings">): number {
  return bindings.filter((b) => b !== "uniform").length;
}
