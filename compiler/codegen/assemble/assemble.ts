/** Kernels of all entries as one plan: parameters in their layouts, tables, states, shared buffers and modules. */
import { failure } from "../../../grammar/diagnostic.ts";
import { LIMITS } from "../../../grammar/limits.ts";
import { bindPath, plainPath } from "../../graph/path.ts";
import type { GraphFunction, Node, Program } from "../../graph/node.ts";
import { isOp } from "../../graph/node.ts";
import { formatType } from "../../graph/type.ts";
import { allFunctions, outputNodes, topologicalOrder } from "../../graph/traverse.ts";
import type { LowerContext } from "../lower/context.ts";
import { fixedSize, rowsHeld } from "../lower/size.ts";
import { rowWidth, statesOf } from "../../ops/states.ts";
import type { HostNumber, ParameterPlace } from "../lower/place.ts";
import type {
  Binding,
  DeviceFacts,
  Entry,
  HostScalar,
  Layout,
  Parameter,
  Plan,
  State,
  Table,
} from "../../plan/plan.ts";
import type { WeightFormat } from "../../plan/format.ts";
import { type StoreType, storedBytes } from "../../plan/store.ts";
import { storeOf } from "../lower/store.ts";
import { PLAN_VERSION, SIZE_SYMBOLS } from "../../plan/plan.ts";
import type { Regime } from "../schedule/kernel.ts";
import type { Layouts } from "../schedule/layout.ts";
import { chooseLayouts, cutParts } from "../schedule/layout.ts";
import { tableOf } from "../../passes/tabulate/tabulate.ts";
import { Collector } from "./collect.ts";
import type { ScheduleWork } from "../schedule/scheduling.ts";
import { assembleEntry, type EntryProgram } from "./entry.ts";
import { assembleUpdate, type UpdateRule } from "./update.ts";

export interface AssembleOptions {
  readonly model: string;
  readonly device: DeviceFacts;
  readonly storage: (path: string) => WeightFormat;
  readonly tables: readonly Table[];
  readonly scalars: readonly HostScalar[];
  readonly force: LowerContext["force"];
  readonly cache: StoreType;
  readonly activations: StoreType;
  readonly stepTokens: number;
  readonly scheduled: (work: ScheduleWork) => void;
  /** What ends an optimizer step, where the plan trains. */
  readonly update: UpdateSpec | null;
}

export interface UpdateSpec {
  /** The host scalar that says the largest norm of the gradients; 0: any. */
  readonly clip: string;
  readonly ruleOf: (path: string) => UpdateRule;
  /** States of layers that become what the last micro-batch said. */
  readonly replaced: readonly string[];
}

export function assemblePlan(programs: readonly EntryProgram[], options: AssembleOptions): Plan {
  const { stepTokens, cache, activations } = options;
  const functions = programs.flatMap((p) => allFunctions(p.program));
  const layouts = chooseLayouts(functions);
  const calls = callsByFunction(programs.map((p) => p.program));
  const elsewhere = new Set(programs.flatMap(({ keeps }) => [...(keeps?.values() ?? [])].map((k) => k.next ?? k.id)));
  for (const { id } of options.scalars) elsewhere.add(id);
  const params = new Map<string, { readonly param: Node<"param">; readonly paths: Set<string> }>();
  for (const fn of functions) {
    for (const param of paramsOf(fn)) {
      if (concretePaths(param.attrs.path, fn, calls).some((path) => elsewhere.has(path))) continue;
      const known = params.get(param.attrs.path) ?? { param, paths: new Set() };
      for (const path of concretePaths(param.attrs.path, fn, calls)) known.paths.add(path);
      params.set(param.attrs.path, known);
    }
  }
  const places = new Map(
    [...params].map(([path, { param, paths }]) => [path, placeOf(param, layouts, [...paths], options)]),
  );
  const collector = new Collector();
  const boundOf = ({ attrs: { path } }: Node<"param">): { readonly bound: Binding } | HostNumber | null => {
    const scalar = options.scalars.findIndex((s) => s.id === path);
    if (scalar >= 0) return { scalar, count: options.scalars.length };
    return params.has(path) ? null : { bound: { kind: "buffer", id: plainPath(path) } };
  };
  const templates = new Map([...params].flatMap(([path, { paths }]) => [...paths].map((own) => [own, path] as const)));
  const layoutOf = (path: string): Layout => places.get(templates.get(path) ?? path)?.layout ?? { kind: "plain" };
  const parameterOf = (param: Node<"param">): ParameterPlace => places.get(param.attrs.path)!;
  const entries: Entry[] = programs.flatMap((entry) =>
    entry.regimes.map((entryRegime) => {
      const { device, force } = options;
      const regime: Regime = entryRegime === "decode" ? "decode" : "prefill";
      const schedule = { regime, device, layouts, partsOf: (path: string) => places.get(path)?.parts.length ?? 1 };
      return assembleEntry(entry, entryRegime, schedule, {
        device,
        regime,
        force,
        cache,
        activations,
        stepTokens: entryRegime === "whole" ? null : stepTokens,
        collector,
        scheduled: options.scheduled,
        parameterOf,
        tableOf,
        boundOf,
        layoutOf,
      });
    }),
  );
  const parameters = [...params].flatMap(([path, { param, paths }]) => {
    const { layout, storage, parts } = places.get(path)!;
    const axes = param.type.axes.map((a) => ({ name: a.name, size: fixedSize(a) }));
    return [...paths].map((own): Parameter => ({ path: own, axes, storage, layout, parts }));
  });
  if (options.update !== null) entries.push(updateEntry(options.update, parameters, collector, options));
  const states = new Map(
    programs.flatMap(({ regimes, program }) => {
      const most = regimes.includes("whole") ? null : stepTokens;
      return allFunctions(program).flatMap((fn) => listStates(fn, calls, most, cache).map((s) => [s.id, s] as const));
    }),
  );
  return {
    format: "moec-plan",
    version: PLAN_VERSION,
    model: options.model,
    device: options.device,
    stepTokens,
    symbols: Object.keys(SIZE_SYMBOLS),
    scalars: options.scalars,
    parameters,
    tables: options.tables,
    states: [...states.values()],
    buffers: collector.buffers,
    modules: collector.modules,
    entries,
  };
}

function updateEntry(
  { clip, ruleOf, replaced }: UpdateSpec,
  parameters: readonly Parameter[],
  collector: Collector,
  { device, force, scalars }: AssembleOptions,
): Entry {
  const gradients = new Set(collector.buffers.flatMap((b) => (b.id.startsWith("grad.") ? (b.kept?.of ?? []) : [])));
  return assembleUpdate({
    collector,
    context: { device, regime: "prefill", force },
    scalars,
    clip,
    rules: parameters
      .filter((p) => gradients.has(p.path))
      .map((parameter) => ({ parameter, rule: ruleOf(parameter.path) })),
    replaced: parameters.filter((p) => replaced.includes(p.path)),
  });
}

function paramsOf(fn: GraphFunction): readonly Node<"param">[] {
  return topologicalOrder(outputNodes(fn)).filter((n): n is Node<"param"> => isOp(n, "param") && tableOf(n) === null);
}

/** Layers share kernels, so they share what a kernel is made for: mixed storage types become f32. */
function placeOf(
  param: Node<"param">,
  layouts: Layouts,
  paths: readonly string[],
  options: AssembleOptions,
): ParameterPlace {
  const { path } = param.attrs;
  const types = new Set(paths.map(options.storage));
  const [only, ...more] = types;
  const storage = only === undefined || more.length > 0 ? "f32" : only;
  const layout = layouts.get(path) ?? { kind: "plain" };
  const { maxBinding } = options.device;
  const parts = cutParts(param.type, layout, storage, maxBinding);
  if (parts.length > 0) return { path, storage, layout, parts };
  throw failure(
    "device/too-large",
    `\`${paths[0] ?? path}\` of ${formatType(param.type)} does not fit into ${LIMITS.parts} parts of ${maxBinding} bytes, the most that the device binds at once`,
    {
      ...(param.origin === null ? {} : { labels: [{ span: param.origin, text: "this parameter" }] }),
      help: "choose another device, or smaller sizes",
    },
  );
}

/** Paths under which each function is called. */
type Calls = ReadonlyMap<GraphFunction, ReadonlySet<string>>;

function callsByFunction(programs: readonly Program[]): Calls {
  const calls = new Map<GraphFunction, Set<string>>();
  for (const { main, functions } of programs) {
    for (const node of topologicalOrder(outputNodes(main))) {
      const fn = isOp(node, "call") ? functions.get(node.attrs.fn) : undefined;
      if (fn !== undefined) calls.set(fn, (calls.get(fn) ?? new Set()).add((node as Node<"call">).attrs.path));
    }
  }
  return calls;
}

/** What a path or id in a function stands for, layer by layer. */
function concretePaths(path: string, fn: GraphFunction, calls: Calls): readonly string[] {
  return path.includes("#") ? [...(calls.get(fn) ?? [])].map((call) => bindPath(path, call)) : [path];
}

function listStates(fn: GraphFunction, calls: Calls, stepTokens: number | null, cache: StoreType): readonly State[] {
  return topologicalOrder(outputNodes(fn)).flatMap((node) =>
    statesOf(node).flatMap(({ id, row, rows }) => {
      const width = rowWidth(row);
      const store = storeOf({ row, rows }, cache);
      return concretePaths(id, fn, calls).map((own): State => ({
        id: own,
        elements: ["*", ["*", "S", rowsHeld(rows, stepTokens)], width],
        store,
        bytesPerToken: rows.kind === "positions" ? storedBytes(store, width) : 0,
      }));
    }),
  );
}
