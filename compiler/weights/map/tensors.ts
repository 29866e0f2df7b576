/**
 * The rules of a map, expanded over a model: which tensor of a checkpoint holds which elements of which parameter. Every
 * correspondence is a strided view, so one description serves import, export and streaming, whatever the layout.
 */
import type { MapRule } from "../../../grammar/ast.ts";
import { DiagnosticBag } from "../../../grammar/diagnostic.ts";
import { LIMITS } from "../../../grammar/limits.ts";
import type { Span } from "../../../grammar/span.ts";
import { withoutPrimes } from "../../graph/type.ts";
import { Dim } from "../../graph/dim.ts";
import { evaluate, staticEnv } from "../../language/interpret/context.ts";
import type { Env } from "../../language/interpret/context.ts";
import type { Instance, ParameterInfo, Value } from "../../language/interpret/value.ts";
import type { Model } from "../../language/model/model.ts";
import { newContext } from "../../language/model/model.ts";
import { type MapBinding, mapOfModel } from "./config.ts";
import { checkStored, storedAs, type StoredAs, type StoredRule } from "./encoding.ts";
import { type Factor, type Item, itemsOf, layoutOfPart, product } from "./layout.ts";
import { resolvePath } from "./path.ts";
import { join, patternOf, substitute } from "./pattern.ts";

/** One tensor of a checkpoint and the parameters in it. */
export interface TensorEntry {
  readonly tensor: string;
  readonly shape: readonly number[];
  /** Its parts, where it is stored in an encoding; the shape is that of the values. */
  readonly stored: StoredAs | null;
  readonly pieces: readonly Piece[];
  readonly span: Span;
}

/** A contiguous run of a parameter's elements, read from a tensor with strides. All counts are elements. */
export interface Piece {
  readonly path: string;
  /** Where the run starts in the parameter; it is row-major over `sizes`. */
  readonly target: number;
  readonly sizes: readonly number[];
  /** Where element 0 lies in the tensor, and the step along each of `sizes`. */
  readonly source: number;
  readonly strides: readonly number[];
}

export interface TensorMap {
  readonly entries: readonly TensorEntry[];
  /** Names that may be there and are not read. */
  readonly ignored: (name: string) => boolean;
  /** Of these, which must hold what a parameter does. */
  readonly alike: readonly Alike[];
}

/** Tensors that are not read while they hold the same as a parameter, in its order. */
export interface Alike {
  readonly matches: (name: string) => boolean;
  /** The parameter. */
  readonly path: string;
  /** What the model's parameter `name` is where they do not; null where nothing can be done about it. */
  readonly otherwise: { readonly name: string; readonly value: Value } | null;
  readonly span: Span;
}

/** Which of `either ... or` is written: the one with the fewest tensors, or the one with the most. */
export type ExpertLayout = "fused" | "per-expert";

/**
 * Expands a map over a model. `present`: the names in a checkpoint, to choose among `either` layouts; when writing, which of them
 * to write, or null for the first.
 */
export function expandMap(
  map: MapBinding,
  model: Model,
  present: ReadonlySet<string> | ExpertLayout | null,
  bag: DiagnosticBag,
): TensorMap {
  const ctx = newContext("build", bag);
  const env = staticEnv(ctx, map.scope, new Map(model.args));
  const ignored: Ignored[] = [];
  const tooMany = new DiagnosticBag();
  const entries = expandRules(map.item.rules, {
    env,
    instance: model.instance,
    pattern: "",
    indices: new Map(),
    banks: new Map(),
    present,
    ignored,
    stored: [],
    layers: new Map(),
    isWhole: true,
    tooMany,
    most: present instanceof Set ? Math.max(LIMITS.tensors, present.size) : LIMITS.tensors,
    room: { left: present instanceof Set ? Math.max(LIMITS.entries, 4 * present.size) : LIMITS.entries },
  });
  for (const first of tooMany.list.slice(0, 1)) bag.add(first);
  return {
    entries,
    ignored: (name) => ignored.some((i) => i.matches(name)),
    alike: ignored.flatMap(({ path, ...rest }) => (path === null ? [] : [{ ...rest, path }])),
  };
}

/** A name that may be there; `path` is null where it does not matter what it holds. */
type Ignored = Omit<Alike, "path"> & { readonly path: string | null };

interface Place {
  readonly env: Env;
  readonly instance: Instance;
  readonly pattern: string;
  /** Index variables by name. */
  readonly indices: ReadonlyMap<string, number>;
  /** Fixed bank axes by label. */
  readonly banks: ReadonlyMap<string, number>;
  /** The layer of each stack passed through, by its template's path. */
  readonly layers: ReadonlyMap<string, number>;
  readonly present: ReadonlySet<string> | ExpertLayout | null;
  readonly ignored: Ignored[];
  /** What names more tensors than there can be, which matters only in the layout that is meant. */
  readonly tooMany: DiagnosticBag;
  /** How many tensors a line may name. */
  readonly most: number;
  /** How many all lines may still name. */
  readonly room: { left: number };
  /** Encodings that tensors may be stored in here, the nearest first. */
  readonly stored: readonly StoredRule[];
  /** Whether the rules are of the whole model's own map. */
  readonly isWhole: boolean;
}

function expandRules(rules: readonly MapRule[], place: Place): TensorEntry[] {
  const own = rules.filter(
    (rule): rule is StoredRule => rule.kind === "stored" && checkStored(rule, place.env.ctx.bag),
  );
  const inside = { ...place, stored: [...own, ...place.stored] };
  return rules.flatMap((rule) => expandRule(rule, inside));
}

function expandRule(rule: MapRule, place: Place): TensorEntry[] {
  switch (rule.kind) {
    case "ignore":
      place.ignored.push(ignoredBy(rule, place));
      return [];
    case "stored":
      return [];
    case "either": {
      const all = rule.alternatives.map((rules) => {
        const tooMany = new DiagnosticBag();
        return { entries: expandRules(rules, { ...place, tooMany }), tooMany: tooMany.list };
      });
      const fitting = all.filter(({ tooMany }) => tooMany.length === 0);
      const scores = fitting.map(({ entries }) => scoreLayout(entries, place.present));
      const best = Math.max(...scores);
      // A layout of too many tensors is meant where no other is there as a whole.
      if (best !== 1) for (const d of all.flatMap(({ tooMany }) => tooMany)) place.tooMany.add(d);
      return fitting[scores.indexOf(best)]?.entries ?? [];
    }
    case "pair": {
      if (rule.condition !== null) {
        const condition = evaluate(withIndices(place), rule.condition);
        if (condition.kind !== "bool" || !condition.value) return [];
      }
      if (rule.isModel) return expandModel(rule, place);
      return rule.rules === null ? expandPair(rule, place) : expandScope(rule, rule.rules, place);
    }
  }
}

function ignoredBy({ pattern, same, otherwise, span }: Extract<MapRule, { kind: "ignore" }>, place: Place): Ignored {
  const { env, instance, indices, isWhole } = place;
  const text = join(place.pattern, substitute(pattern.value, new Map([...sizesOf(env), ...indices])));
  const [found] = same === null ? [] : resolvePath(env, instance, same, place);
  if (found?.kind === "layer") reportLayer(same!.span, env.ctx.bag);
  const name = patternOf(text);
  return {
    matches: (tensor) => name.test(tensor),
    path: found?.kind === "parameter" ? found.path : null,
    otherwise:
      otherwise === null || !isWhole ? null : { name: otherwise.name.text, value: evaluate(env, otherwise.value) },
    span,
  };
}

function reportLayer(span: Span, bag: DiagnosticBag): void {
  bag.error(
    "map/not-a-parameter",
    "a tensor belongs to a parameter",
    [{ span, text: "this is a layer" }],
    "name its parameter, e.g. `head.w`, or put rules in braces",
  );
}

/** The highest wins, of equal ones the first. */
function scoreLayout(entries: readonly TensorEntry[], present: Place["present"]): number {
  if (present === null) return 0;
  if (present === "fused") return -entries.length;
  if (present === "per-expert") return entries.length;
  return entries.filter((e) => e.stored !== null || present.has(e.tensor)).length / Math.max(1, entries.length);
}

/** Index variables are numbers in conditions: `if l < first`. */
function withIndices({ env, indices }: Place): Env {
  const numbers = [...indices].map(([name, value]): [string, Value] => [
    name,
    { kind: "axis", label: null, size: Dim.of(value), origin: null },
  ]);
  return { ...env, locals: new Map([...env.locals, ...numbers]) };
}

/** Sizes of the model by name, for patterns: `{L}` is the number of layers. */
function sizesOf({ locals }: Env): readonly [string, number][] {
  return [...locals].flatMap(([name, value]): [string, number][] =>
    value.kind === "axis" && value.size.value !== null ? [[name, value.size.value]] : [],
  );
}

type Pair = Extract<MapRule, { kind: "pair" }>;

/** `blocks[l] <-> "model.layers.{l}" { ... }`: the rules inside, for every index. */
function expandScope(rule: Pair, rules: readonly MapRule[], place: Place): TensorEntry[] {
  const [left] = rule.left;
  if (left === undefined) return [];
  return resolvePath(place.env, place.instance, left, place).flatMap((found) => {
    if (found.kind !== "layer") {
      place.env.ctx.bag.error(
        "map/not-a-layer",
        "rules in braces belong to a layer",
        [{ span: left.span, text: "this is a parameter" }],
        "write one rule for it, or name its layer",
      );
      return [];
    }
    const indices = new Map([...place.indices, ...found.indices]);
    return expandRules(rules, {
      ...place,
      instance: found.instance,
      indices,
      banks: new Map([...place.banks, ...found.banks]),
      layers: new Map([...place.layers, ...found.layers]),
      pattern: join(place.pattern, substitute(rule.pattern.value, indices)),
    });
  });
}

/** `models[n] <-> map "models.{n}"`: the rules of the model's own map, whose index variables are its own. */
function expandModel(rule: Pair, place: Place): TensorEntry[] {
  return resolvePath(place.env, place.instance, rule.left[0]!, place).flatMap((found) => {
    if (found.kind !== "layer") return [];
    const { decl, args } = found.instance;
    const { item, scope } = mapOfModel(place.env.scope, decl, args);
    return expandRules(item.rules, {
      ...place,
      env: staticEnv(place.env.ctx, scope, new Map(args)),
      instance: found.instance,
      indices: new Map(),
      banks: new Map([...place.banks, ...found.banks]),
      layers: new Map([...place.layers, ...found.layers]),
      pattern: join(place.pattern, substitute(rule.pattern.value, found.indices)),
      isWhole: false,
    });
  });
}

function reportRoom({ span }: Pair, { tooMany }: Place): void {
  if (tooMany.hasErrors) return;
  tooMany.error(
    "map/too-many",
    `this map would name more than ${LIMITS.entries} tensors, with all layers and experts`,
    [{ span, text: "one tensor too many" }],
    "choose fewer layers or experts, or a layout that has the experts of a layer in one tensor",
  );
}

function expandPair(rule: Pair, place: Place): TensorEntry[] {
  const lists = rule.left.map((left) => resolvePath(place.env, place.instance, left, place));
  const [first] = lists;
  if (first === undefined) return [];
  place.room.left -= first.length;
  if (place.room.left < 0) {
    reportRoom(rule, place);
    return [];
  }
  return first.flatMap((_, i): TensorEntry[] => {
    const targets = lists.map((list) => list[i]);
    const parameters: { parameter: ParameterInfo; path: string; banks: ReadonlyMap<string, number> }[] = [];
    for (const target of targets) {
      if (target?.kind !== "parameter") {
        reportLayer(rule.left[0]!.span, place.env.ctx.bag);
        return [];
      }
      parameters.push({
        parameter: target.parameter,
        path: target.path,
        banks: new Map([...place.banks, ...target.banks]),
      });
    }
    const indices = new Map([...place.indices, ...first[i]!.indices]);
    const tensor = join(place.pattern, substitute(rule.pattern.value, indices));
    const stored =
      place.present === null || typeof place.present === "string"
        ? null
        : storedAs(tensor, place.stored, place.present);
    return tensorEntry(rule, tensor, stored, parameters, place.env) ?? [];
  });
}

function tensorEntry(
  rule: Pair,
  tensor: string,
  stored: StoredAs | null,
  parameters: readonly { parameter: ParameterInfo; path: string; banks: ReadonlyMap<string, number> }[],
  env: Env,
): TensorEntry[] | null {
  const { parameter, banks } = parameters[0]!;
  const free = parameter.axes.filter((a) => !banks.has(a.name));
  const dims: readonly (readonly Item[])[] =
    rule.layout === null
      ? free.map((a) => [{ label: a.name, size: a.size.value ?? 0 }])
      : rule.layout.map((axis) => (axis.kind === "rest" ? [] : itemsOf(axis.size, env)));
  const shape = dims.map(product);
  const items = dims.flat();
  // An axis of one element tells no parts apart.
  const [shared, ...others] = items.filter((f) => "parts" in f || (f.label === null && f.size !== 1));
  const parts = shared === undefined ? 1 : "parts" in shared ? shared.parts.length : shared.size;
  const isSum = shared !== undefined && "parts" in shared;
  if (others.length > 0 || (parts !== parameters.length && (parameters.length > 1 || isSum))) {
    env.ctx.bag.error(
      "map/concat",
      `${parameters.length} parameters share this tensor, so its layout needs a factor ${parameters.length}`,
      [{ span: rule.span, text: "in this rule" }],
      `write \`as [..., ${parameters.length}*F, ...]\`, or a sum where they differ in size: \`as [F + G, ...]\``,
    );
    return null;
  }
  const pieces: Piece[] = [];
  for (const [part, p] of parameters.entries()) {
    const axes = p.parameter.axes.filter((a) => !p.banks.has(a.name));
    const { factors, strides, source } = layoutOfPart(items, shared ?? null, part);
    const taken = new Set<number>();
    const steps: number[] = [];
    for (const axis of axes) {
      const at = [(f: Factor) => f.label === axis.name, (f: Factor) => f.label === withoutPrimes(axis.name)]
        .map((test) => factors.findIndex((f, i) => !taken.has(i) && test(f)))
        .find((i) => i >= 0);
      if (at === undefined || factors[at]!.size !== axis.size.value) {
        const names = axes.map((a) => a.name);
        const message =
          at === undefined
            ? `the layout of \`${tensor}\` leaves out the parameter's axis \`${axis.name}\``
            : `axis \`${axis.name}\` of \`${p.path}\` is ${axis.size.key}, and ${factors[at]!.size} in the layout of \`${tensor}\``;
        env.ctx.bag.error(
          "map/layout",
          message,
          [
            { span: rule.span, text: "in this rule" },
            { span: p.parameter.span, text: `the parameter has axes [${names.join(", ")}]` },
          ],
          `write \`as [...]\` with each of ${names.map(withoutPrimes).join(", ")}, joined by \`*\` where the tensor has them as one`,
        );
        return null;
      }
      taken.add(at);
      steps.push(strides[at]!);
    }
    const unused = factors.findIndex((f, i) => !taken.has(i) && f.label !== null && f.size !== 1);
    if (unused >= 0) {
      env.ctx.bag.error(
        "map/layout",
        `the layout of \`${tensor}\` has an axis \`${factors[unused]!.label ?? factors[unused]!.size}\` that the parameter does not have`,
        [
          { span: rule.span, text: "in this rule" },
          { span: p.parameter.span, text: `the parameter has axes [${axes.map((a) => a.name).join(", ")}]` },
        ],
        "leave it out",
      );
      return null;
    }
    let target = 0;
    const all = p.parameter.axes;
    for (const [i, axis] of all.entries()) {
      const index = p.banks.get(axis.name);
      if (index !== undefined) target += index * all.slice(i + 1).reduce((n, a) => n * (a.size.value ?? 0), 1);
    }
    pieces.push({
      path: p.path,
      target,
      sizes: axes.map((a) => a.size.value ?? 0),
      source,
      strides: steps,
    });
  }
  return [{ tensor, shape, stored, pieces, span: rule.span }];
}
