/**
 * An upcycling planned over real checkpoints: contracts proved on a small instance, rules expanded, every tensor to write
 * matched to what it is made from. Only headers and configs are read; `executeTransfer` does what is planned.
 */
import type {
  Assignment,
  ExpertLayout,
  MapBinding,
  Model,
  Scope,
  TensorEntry,
  Upcycling,
  Value,
  Workspace,
} from "../../compiler/index.ts";
import {
  applyOverrides,
  checkTotal,
  expandMap,
  expandUpcycle,
  findLostSettings,
  reportContracts,
  runContracts,
  sourcesOf,
  toJson,
} from "../../compiler/index.ts";
import { STORING_RULES, commonType, elementBytes, type ElementType } from "../checkpoint/element-type.ts";
import type { UpcycleDecl } from "../../grammar/ast.ts";
import { type Diagnostic, DiagnosticBag, failure, MoeError } from "../../grammar/diagnostic.ts";
import { checkOptions, list, needed, object, type Rules, signal, text, whole } from "../../grammar/option.ts";
import { type Span, textOf } from "../../grammar/span.ts";
import { type AbortOptions, checkAborted } from "../abort.ts";
import { embedSource } from "../model/embedded.ts";
import type { LoadedModel } from "../model/model.ts";
import { countElements } from "../checkpoint/strided.ts";
import { fingerprintOf } from "./fingerprint.ts";
import { mapsIn } from "../load/modules.ts";
import { openOverrides } from "./overrides.ts";
import type { ProvenanceHead } from "./provenance-head.ts";
import { openPrompts, planRuns } from "./runs.ts";
import { nameSources, settle } from "./settle.ts";
import { findTargetMap } from "./target.ts";
import { makeConfig, mostBytes } from "./written-config.ts";
import { checkTokenizers } from "./tokenizers.ts";
import { planTensors, sumTransfer, type Transfer, type TransferTensor } from "./transfer.ts";

export interface UpcycleRequest extends AbortOptions {
  readonly upcycle: { readonly item: UpcycleDecl; readonly scope: Scope };
  readonly workspace: Workspace;
  /** In the order of the declaration; they stay the caller's to close. */
  readonly sources: readonly LoadedModel[];
  /** The declaration's compile-time parameters by name. */
  readonly options?: ReadonlyMap<string, Value>;
  /** Name of a model to make instead of the declared or chosen one. */
  readonly to?: string | undefined;
  /** Whose settings count where sources differ: `base` for all, `NAME=SOURCE` for one, as `theta=src[1]`. */
  readonly take?: readonly string[];
  /** `PATH=FILE#TENSOR`, in place of what rules give. */
  readonly overrides?: readonly string[];
  /** How parameters are stored; unless given, as in the sources. */
  readonly dtype?: ElementType | undefined;
  /** Among the layouts that the target's map has; the first unless given. */
  readonly layout?: ExpertLayout | undefined;
  /** Maps that are tried before those of the standard library. */
  readonly maps?: readonly MapBinding[];
  /** Bytes of weights to hold at a time. */
  readonly budget?: number;
}

const UPCYCLE_RULES: Rules<UpcycleRequest> = {
  upcycle: needed(object("a declaration with its scope", "item", "scope")),
  workspace: needed(object("a workspace, of `openWorkspace`", "standard")),
  sources: needed(list(object("a model", "model", "source"), "a list of models, of `loadModel`")),
  options: object("a Map of values by name", "entries", "get"),
  to: text,
  overrides: list(text, "a list of PATH=FILE#TENSOR"),
  take: list(text, "a list of NAME=SOURCE, or base"),
  ...STORING_RULES,
  maps: list(object("a map with its scope", "item", "scope"), "a list of maps"),
  budget: whole(1, Number.MAX_SAFE_INTEGER),
  signal,
};

export interface UpcyclePlan extends Transfer {
  readonly target: Model;
  readonly map: MapBinding;
  /** What most parameters are stored as. */
  readonly dtype: ElementType;
  readonly rules: readonly RuleTotal[];
  /** What the sources have and the upcycling ignores. */
  readonly leftOut: Upcycling["leftOut"];
  readonly warnings: readonly Diagnostic[];
  /** Closes what the plan itself opened. */
  close(): Promise<void>;
}

/** What one rule gives. A tensor that several rules share counts for each. */
export interface RuleTotal {
  readonly rule: Span;
  readonly tensors: number;
  readonly bytesRead: number;
  readonly bytesWritten: number;
}

/** Throws `MoeError` with everything that is wrong, before any weight is read. */
export async function planUpcycle(request: UpcycleRequest): Promise<UpcyclePlan> {
  checkOptions("planUpcycle", request, UPCYCLE_RULES);
  const { upcycle, workspace, sources, options = new Map(), overrides = [], maps = [] } = request;
  const { item, scope } = upcycle;
  const check = (): void => checkAborted("planUpcycle", request.signal);
  check();
  const settled = settle(
    item,
    sources.map((s) => s.model),
    request.take ?? [],
  );
  const upcycling = expandUpcycle(
    item,
    scope,
    settled.models,
    options,
    request.to ?? null,
    await openPrompts(item, sources),
  );
  check();
  checkContracts(upcycling, options, request.to ?? null);
  const starts = await checkTokenizers(sources.map((s) => s.checkpoint.path));
  check();
  const { target } = upcycling;
  const map = findTargetMap(workspace, target, [...maps, ...mapsIn(scope), ...sources.map((s) => s.map)]);
  const entries = expandWhole(map, target, request.layout ?? null);
  const opened = await openOverrides(overrides, sources.length);
  try {
    check();
    const assignments = applyOverrides(upcycling, opened.overrides);
    const byPath = Map.groupBy(assignments, (a) => a.path);
    const readers = [...sources.map((s) => s.source), ...opened.sources];
    const checkpoints = [...sources.map((s) => s.checkpoint), ...opened.checkpoints];
    const common = request.dtype ?? mostBytes(sources.flatMap(storedBytes));
    const dtypes = new Map(entries.map((e) => [e, request.dtype ?? typeOf(e, byPath, sources) ?? common]));
    const dtype = (entry: TensorEntry): ElementType => dtypes.get(entry)!;
    const metadata = embedSource(map, target, workspace);
    const tensors = planTensors(entries, assignments, {
      sources: readers,
      dtype,
      ...(request.budget === undefined ? {} : { budget: request.budget }),
    });
    const config = makeConfig(map, target, tensors, sources[0]!);
    const runs = planRuns(assignments, sources);
    const totals = sumTransfer(tensors);
    return {
      target,
      map,
      leftOut: upcycling.leftOut,
      dtype: common,
      tensors,
      sources: readers,
      runs,
      checkpoints,
      config,
      metadata,
      fingerprint: fingerprintOf({ entries, dtype, assignments, checkpoints, config, metadata }),
      provenance: {
        upcycling: describeUpcycling(item, options),
        sources: [...describeSources(upcycling), ...overrides.map(() => ({ name: "--set", model: "" }))],
        options: {
          ...(request.dtype === undefined ? {} : { dtype: request.dtype }),
          ...(request.layout === undefined ? {} : { layout: request.layout }),
          set: overrides,
          ...(Object.keys(settled.taken).length === 0 ? {} : { taken: settled.taken }),
        },
      },
      folder: sources[0]!.checkpoint.path,
      rules: sumRules(tensors),
      warnings: [...settled.notes, ...starts, ...findLostSettings(upcycling)],
      ...totals,
      bytesRead: totals.bytesRead + runs.reduce((n, run) => n + run.bytes, 0),
      close: opened.close,
    };
  } catch (error) {
    await opened.close();
    throw error;
  }
}

function storedBytes({ model, source }: LoadedModel): readonly (readonly [ElementType, number])[] {
  return model.parameters.map(({ path, axes }) => {
    const type = source.storage(path);
    return [type, axes.reduce((n, axis) => n * axis.size, elementBytes(type))] as const;
  });
}

function describeUpcycling(
  { name, span }: UpcycleDecl,
  options: ReadonlyMap<string, Value>,
): ProvenanceHead["upcycling"] {
  const parameters = Object.fromEntries([...options].map(([key, value]) => [key, toJson(value)]));
  return { name: name.text, file: span.file.path, text: textOf(span), parameters };
}

function describeSources({ decl, sources }: Upcycling): ProvenanceHead["sources"] {
  const names = nameSources(decl, sources.length);
  return sources.map((model, i) => ({ name: names[i]!, model: model.name }));
}

function checkContracts(
  { decl, scope, sources }: Upcycling,
  options: ReadonlyMap<string, Value>,
  to: string | null,
): void {
  const bag = new DiagnosticBag();
  const families = sources.map(({ instance, args }) => ({ decl: instance.decl, scope: instance.scope, args }));
  reportContracts(bag, decl, runContracts(decl, scope, families, options, to));
  if (bag.hasErrors) throw new MoeError(bag.list);
}

/** Every tensor of the model as the map writes it. Throws `map/one-layout` when there is no choice where one is asked for. */
export function expandWhole(map: MapBinding, model: Model, layout: ExpertLayout | null): readonly TensorEntry[] {
  const bag = new DiagnosticBag();
  const { entries } = expandMap(map, model, layout, bag);
  if (!bag.hasErrors) checkTotal(model, entries, bag, map.item.span);
  if (bag.hasErrors) throw new MoeError(bag.list);
  if (layout !== null && !hasChoice(map, model))
    throw failure("map/one-layout", `the map \`${map.item.name.text}\` has one layout only`, {
      labels: [{ span: map.item.name.span, text: "no `either` in it gives a choice" }],
      help: "leave out --layout, or write the other layout into the map: `either { ... } or { ... }`",
    });
  return entries;
}

function hasChoice(map: MapBinding, model: Model): boolean {
  const [fewest, most] = (["fused", "per-expert"] as const).map(
    (layout) => expandMap(map, model, layout, new DiagnosticBag()).entries.length,
  );
  return fewest !== most;
}

/** The type of the models' parameters that a tensor is made from; null for one that is fresh or given on the side. */
function typeOf(
  entry: TensorEntry,
  byPath: ReadonlyMap<string, readonly Assignment[]>,
  sources: readonly LoadedModel[],
): ElementType | null {
  const types = entry.pieces.flatMap((piece) => {
    const window = { start: piece.target, end: piece.target + countElements(piece.sizes) };
    const given = (byPath.get(piece.path) ?? []).filter(
      (a) => a.start < window.end && a.start + a.length > window.start,
    );
    return given.flatMap((a) => sourcesOf(a.terms)).flatMap((t) => sources[t.source]?.source.storage(t.path) ?? []);
  });
  return types.length === 0 ? null : commonType(types);
}

function sumRules(tensors: readonly TransferTensor[]): readonly RuleTotal[] {
  const totals = new Map<Span, { names: Set<string>; bytesRead: number; bytesWritten: number }>();
  for (const { name, dtype, units } of tensors) {
    for (const { assignment, bytesRead } of units.flatMap((unit) => unit.runs)) {
      const { rule, length } = assignment;
      const total = totals.get(rule) ?? { names: new Set(), bytesRead: 0, bytesWritten: 0 };
      total.names.add(name);
      total.bytesRead += bytesRead;
      total.bytesWritten += length * elementBytes(dtype);
      totals.set(rule, total);
    }
  }
  return [...totals].map(([rule, { names, ...total }]) => ({ rule, ...total, tensors: names.size }));
}
