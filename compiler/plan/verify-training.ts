/**
 * What must hold of a plan that trains: what is kept is written by entries that train, is as large as what it belongs to, and begins at a
 * number that it can hold; parameters are f32 and written by entries of phase `update` alone, each that has something kept once. A 16-bit
 * weight would lose the small steps of an update; a copy of 16 bits beside it is a kept buffer like any other.
 */
import { FORMATS } from "./format.ts";
import { matrixBytes, plainBytes } from "./layout.ts";
import {
  type Binding,
  type Buffer,
  type Dispatch,
  type Entry,
  evaluateSize,
  fillIndex,
  type KernelModule,
  type Kept,
  type Parameter,
  type Plan,
  symbolsOf,
} from "./plan.ts";

/** Sentences about what is wrong, as `verifyPlan` gives them. */
export function verifyTraining(plan: Plan): readonly string[] {
  const parameters = new Map(plan.parameters.map((p) => [p.path, p]));
  return [...plan.buffers.flatMap((b) => verifyKept(b, parameters)), ...verifyWrites(plan, parameters)];
}

/** What a buffer says of itself. */
function verifyKept(buffer: Buffer, parameters: ReadonlyMap<string, Parameter>): readonly string[] {
  const { id, role, kept } = buffer;
  if (role !== "kept" && kept === null) return [];
  if (role !== "kept" || kept === null)
    return [`buffer ${id} has the role ${role}, and ${kept === null ? "nothing" : "something"} kept`];
  const problems: string[] = [];
  if (buffer.share !== null) problems.push(`buffer ${id} is kept, and shares its memory`);
  if (!canHold(buffer.type, kept.initial))
    problems.push(`buffer ${id} is ${buffer.type}, and begins at ${kept.initial}`);
  if (symbolsOf(buffer.elements).length > 0)
    return [...problems, `buffer ${id} is kept, and its size is one of a step`];
  const parameter = kept.of === null ? null : parameters.get(kept.of);
  if (parameter === undefined) problems.push(`something is kept of ${kept.of}, which is no parameter`);
  else if (parameter !== null && !keptSizes(parameter).has(evaluateSize(buffer.elements, {})))
    problems.push(
      `buffer ${id} has ${evaluateSize(buffer.elements, {})} elements, which is no size of ${parameter.path}`,
    );
  return problems;
}

function canHold(type: Buffer["type"], value: Kept["initial"]): boolean {
  if (type === "f32") return Number.isFinite(Math.fround(value));
  return Number.isInteger(value) && (type === "u32" ? value >>> 0 : value | 0) === value;
}

/**
 * The elements that something kept of a parameter may have: one for each of the parameter's, as it lies in f32 (all of it, or one of its
 * parts), or one for each index of some of its axes: each row, each column, each expert, the whole.
 */
function keptSizes({ axes, layout, parts }: Parameter): ReadonlySet<number> {
  const sizeOf = (names: readonly string[]): number =>
    axes.reduce((n, axis) => (names.includes(axis.name) ? n * axis.size : n), 1);
  let sizes = new Set([1]);
  for (const { size } of axes) sizes = new Set([...sizes].flatMap((n) => [n, n * size]));
  const row = axes.slice(1).reduce((n, axis) => n * axis.size, 1);
  const bytesOf = (count: number): number => {
    if (layout.kind === "plain") return plainBytes(FORMATS.f32, count * row);
    const [bank, k, n] = [sizeOf(layout.bank), sizeOf(layout.k), sizeOf(layout.n)];
    return layout.split === "bank" ? matrixBytes(FORMATS.f32, count, k, n) : matrixBytes(FORMATS.f32, bank, k, count);
  };
  const whole = parts.reduce((n, part) => n + part.count, 0);
  return new Set([...sizes, ...[whole, ...parts.map((part) => part.count)].map((count) => bytesOf(count) / 4)]);
}

/** Which entries write what is kept, and parameters. */
function verifyWrites(plan: Plan, parameters: ReadonlyMap<string, Parameter>): readonly string[] {
  const modules = new Map(plan.modules.map((m) => [m.id, m]));
  const kept = new Map(plan.buffers.filter((b) => b.role === "kept").map((b) => [b.id, b]));
  const written = new Set<string>();
  const stolen = new Set<string>();
  /** Parts of parameters, and how often updates write them. */
  const updates = new Map<string, number>();
  const updated = new Set<string>();
  const note = (b: Binding, { name, phase }: Entry): void => {
    if (b.kind === "buffer" && kept.has(b.id)) {
      written.add(b.id);
      if (phase === "infer") stolen.add(`buffer ${b.id} is kept, and ${name} writes it, which does not train`);
    }
    if (b.kind !== "parameter") return;
    if (phase !== "update") stolen.add(`parameter ${b.path} is written by an entry that is no update`);
    else {
      const part = partOf(b.path, b.part);
      updates.set(part, (updates.get(part) ?? 0) + 1);
      updated.add(b.path);
    }
  };
  for (const entry of plan.entries)
    for (const step of entry.steps)
      if (step.kind === "dispatch") for (const b of writesOf(step, modules)) note(b, entry);
      else
        for (const b of step.steps.flatMap((d) => writesOf(d, modules)))
          for (const index of step.indices) note(fillIndex(b, index), entry);
  const ends = plan.entries.filter((e) => e.phase === "update").map((e) => e.name);
  const trained = new Set([...kept.values()].flatMap((b) => b.kept?.of ?? []));
  const wanted = [...trained].flatMap((path) =>
    (parameters.get(path)?.parts ?? []).map((_, part) => partOf(path, part)),
  );
  return [
    ...[...kept.keys()].filter((id) => !written.has(id)).map((id) => `buffer ${id} is kept, and no entry writes it`),
    ...stolen,
    ...(ends.length > 1 ? [`entries ${ends.join(" and ")} are updates, and one ends an optimizer step`] : []),
    // A plan may be for gradients alone.
    ...(ends.length > 0 ? wanted : [])
      .filter((part) => updates.get(part) !== 1)
      .map((part) => `${part} is trained, and updates write it ${updates.get(part) ?? 0} times`),
    ...[...updated]
      .filter((path) => !trained.has(path))
      .map((path) => `parameter ${path} is written by an update, and nothing is kept of it`),
    ...[...updated].flatMap((path) => {
      const storage = parameters.get(path)?.storage ?? "f32";
      return storage === "f32" ? [] : [`parameter ${path} is written by an update, and stored as ${storage}`];
    }),
  ];
}

const partOf = (path: string, part: number): string => JSON.stringify([path, part]);

function writesOf(d: Dispatch, modules: ReadonlyMap<string, KernelModule>): readonly Binding[] {
  return d.bindings.filter((_, i) => modules.get(d.module)?.bindings[i] === "write");
}
