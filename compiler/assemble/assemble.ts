/** Kernels of all entries as one plan: parameters in their layouts, tables, states, shared buffers and modules. */
import { bindPath } from "../graph/path.ts";
import type { GraphFunction, Node, Program } from "../graph/node.ts";
import { isOp } from "../graph/node.ts";
import { allFunctions, outputNodes, topologicalOrder } from "../graph/traverse.ts";
import { cacheAxes, stateId } from "../graph/cache.ts";
import type { LowerContext } from "../lower/context.ts";
import { fixedSize } from "../lower/size.ts";
import type { ParameterPlace } from "../lower/place.ts";
import type { DeviceFacts, Entry, Parameter, Plan, State, StorageType, Table } from "../plan/plan.ts";
import { PLAN_VERSION } from "../plan/plan.ts";
import type { Regime } from "../schedule/kernel.ts";
import type { Layouts } from "../schedule/layout.ts";
import { chooseLayouts, cutParts } from "../schedule/layout.ts";
import { tableOf } from "../tabulate/tabulate.ts";
import { Collector } from "./collect.ts";
import { assembleEntry } from "./entry.ts";

export interface EntryProgram {
  readonly name: string;
  readonly regimes: readonly Regime[];
  /** After all graph passes; its outputs are the entry's. */
  readonly program: Program;
}

export interface AssembleOptions {
  readonly model: string;
  readonly device: DeviceFacts;
  readonly storage: (path: string) => StorageType;
  readonly tables: readonly Table[];
  readonly force: LowerContext["force"];
}

export function assemblePlan(programs: readonly EntryProgram[], options: AssembleOptions): Plan {
  const functions = programs.flatMap((p) => allFunctions(p.program));
  const layouts = chooseLayouts(functions);
  const indices = callIndices(programs.map((p) => p.program));
  const concrete = (path: string): readonly string[] =>
    path.includes("#")
      ? (indices.get(path.slice(0, path.indexOf("#") - 1)) ?? []).map((call) => bindPath(path, call))
      : [path];
  const params = new Map(functions.flatMap(paramsOf).map((p) => [p.attrs.path, p]));
  const places = new Map([...params].map(([path, param]) => [path, placeOf(param, layouts, concrete(path), options)]));
  const collector = new Collector();
  const parameterOf = (param: Node<"param">): ParameterPlace => places.get(param.attrs.path)!;
  const entries: Entry[] = programs.flatMap(({ name, regimes, program }) =>
    regimes.map((regime) => {
      const { device, force } = options;
      const schedule = { regime, device, layouts, partsOf: (path: string) => places.get(path)?.parts.length ?? 1 };
      return assembleEntry(`${name}.${regime}`, program, schedule, {
        device,
        regime,
        force,
        collector,
        parameterOf,
        tableOf,
      });
    }),
  );
  const parameters = [...params].flatMap(([path, param]) => {
    const { layout, storage, parts } = places.get(path)!;
    const axes = param.type.axes.map((a) => ({ name: a.name, size: fixedSize(a) }));
    return concrete(path).map((own): Parameter => ({ path: own, axes, storage, layout, parts }));
  });
  const states = new Map(functions.flatMap((fn) => statesOf(fn, concrete)).map((s) => [s.id, s]));
  return {
    format: "moec-plan",
    version: PLAN_VERSION,
    model: options.model,
    device: options.device,
    parameters,
    tables: options.tables,
    states: [...states.values()],
    buffers: collector.buffers,
    modules: collector.modules,
    entries,
  };
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
  return { path, storage, layout, parts: cutParts(param.type, layout, storage, options.device.maxBinding) };
}

/** Paths of calls, by what stands before their index: `blocks` of `blocks[3]`. */
function callIndices(programs: readonly Program[]): ReadonlyMap<string, readonly string[]> {
  const paths = new Map<string, Set<string>>();
  for (const { main } of programs) {
    for (const node of topologicalOrder(outputNodes(main))) {
      if (!isOp(node, "call")) continue;
      const before = node.attrs.path.replace(/\[\d+\]$/, "");
      paths.set(before, (paths.get(before) ?? new Set()).add(node.attrs.path));
    }
  }
  return new Map([...paths].map(([before, list]) => [before, [...list]]));
}

function statesOf(fn: GraphFunction, concrete: (path: string) => readonly string[]): readonly State[] {
  return topologicalOrder(outputNodes(fn)).flatMap((node) => {
    if (!isOp(node, "attend")) return [];
    const { heads, key, value } = cacheAxes(node);
    const rows = heads.reduce((n, a) => n * fixedSize(a), 1);
    return (
      [
        ["k", key],
        ["v", value],
      ] as const
    ).flatMap(([part, channel]) => {
      const width = rows * fixedSize(channel);
      return concrete(stateId(node, part)).map((id): State => ({
        id,
        elements: ["*", ["*", "S", "P"], width],
        bytesPerToken: width * 4,
      }));
    });
  });
}
