/**
 * The rules of a map, expanded over a model: which tensor of a checkpoint holds which elements of which parameter. Every
 * correspondence is a strided view, so one description serves import, export and streaming, whatever the layout.
 */
import type { Expr, MapRule } from "../../grammar/ast.ts";
import type { DiagnosticBag } from "../../grammar/diagnostic.ts";
import type { Span } from "../../grammar/span.ts";
import { Dim } from "../graph/dim.ts";
import { evaluate, staticEnv } from "../interpret/context.ts";
import type { Env } from "../interpret/context.ts";
import type { Instance, ParameterInfo, Value } from "../interpret/value.ts";
import type { Model } from "../model/model.ts";
import { newContext } from "../model/model.ts";
import { type MapBinding, mapOfModel } from "./config.ts";
import { checkStored, storedAs, type StoredAs, type StoredRule } from "./encoding.ts";
import { resolvePath } from "./path.ts";

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
}

/** Which of `either ... or` is written: the one with the fewest tensors, or the one with the most. */
export type Layout = "fused" | "per-expert";

/**
 * Expands a map over a model. `present`: the names in a checkpoint, to choose among `either` layouts; when writing, which of them
 * to write, or null for the first.
 */
export function expandMap(
  map: MapBinding,
  model: Model,
  present: ReadonlySet<string> | Layout | null,
  bag: DiagnosticBag,
): TensorMap {
  const ctx = newContext("build", bag);
  const env = staticEnv(ctx, map.scope, new Map(model.args));
  const ignored: RegExp[] = [];
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
  });
  return { entries, ignored: (name) => ignored.some((r) => r.test(name)) };
}

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
  readonly present: ReadonlySet<string> | Layout | null;
  readonly ignored: RegExp[];
  /** Encodings that tensors may be stored in here, the nearest first. */
  readonly stored: readonly StoredRule[];
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
    case "ignore": {
      const text = join(
        place.pattern,
        substitute(rule.pattern.value, new Map([...sizesOf(place.env), ...place.indices])),
      );
      place.ignored.push(
        new RegExp(
          `^${text
            .split("**")
            .map((run) =>
              run
                .split(/\{\w+\}|\*/)
                .map((s) => s.replace(/[.[\]()+?^$|\\]/g, "\\$&"))
                .join("[^.]+"),
            )
            .join(".+")}$`,
        ),
      );
      return [];
    }
    case "stored":
      return [];
    case "either": {
      const all = rule.alternatives.map((rules) => expandRules(rules, place));
      const scores = all.map((entries) => scoreLayout(entries, place.present));
      return all[scores.indexOf(Math.max(...scores))] ?? [];
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
    });
  });
}

function expandPair(rule: Pair, place: Place): TensorEntry[] {
  const lists = rule.left.map((left) => resolvePath(place.env, place.instance, left, place));
  const [first] = lists;
  if (first === undefined) return [];
  return first.flatMap((_, i): TensorEntry[] => {
    const targets = lists.map((list) => list[i]);
    const parameters: { parameter: ParameterInfo; path: string; banks: ReadonlyMap<string, number> }[] = [];
    for (const target of targets) {
      if (target?.kind !== "parameter") {
        place.env.ctx.bag.error(
          "map/not-a-parameter",
          "a tensor belongs to a parameter",
          [{ span: rule.left[0]!.span, text: "this is a layer" }],
          "name its parameter, e.g. `head.w`, or put rules in braces",
        );
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

interface Factor {
  readonly label: string | null;
  readonly size: number;
}

/** A factor of a layout, or `A + B`: one part for each parameter of the rule. */
type Item = Factor | { readonly parts: readonly (readonly Factor[])[]; readonly size: number };

const product = (items: readonly { readonly size: number }[]): number => items.reduce((n, f) => n * f.size, 1);

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
  const shared = items.find((f) => "parts" in f || f.label === null);
  const parts = shared === undefined ? 1 : "parts" in shared ? shared.parts.length : shared.size;
  const isSum = shared !== undefined && "parts" in shared;
  if (parts !== parameters.length && (parameters.length > 1 || isSum)) {
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
    const { factors, strides, source } = layoutOfPart(items, part);
    const taken = new Set<number>();
    const steps: number[] = [];
    for (const axis of axes) {
      const at = [(f: Factor) => f.label === axis.name, (f: Factor) => f.label === axis.name.replace(/'+$/, "")]
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
          `write \`as [...]\` with each of ${names.map((n) => n.replace(/'+$/, "")).join(", ")}, joined by \`*\` where the tensor has them as one`,
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

/** The factors of one part of a layout, with the steps between their elements, and where the part begins. */
function layoutOfPart(
  items: readonly Item[],
  part: number,
): { readonly factors: readonly Factor[]; readonly strides: readonly number[]; readonly source: number } {
  const factors: Factor[] = [];
  const strides: number[] = [];
  let source = 0;
  for (const [i, item] of items.entries()) {
    const step = product(items.slice(i + 1));
    const own = "parts" in item ? (item.parts[part] ?? []) : [item];
    if ("parts" in item) source += step * item.parts.slice(0, part).reduce((n, p) => n + product(p), 0);
    else if (item.label === null) source += step * part;
    for (const [j, factor] of own.entries()) {
      factors.push(factor);
      strides.push(step * product(own.slice(j + 1)));
    }
  }
  return { factors, strides, source };
}

/** `G*R*C` as factors, numbers without a label; `G*(A + B)` has a sum among them. */
function itemsOf(expr: Expr, env: Env): readonly Item[] {
  if (expr.kind === "binary" && expr.op === "*") return [...itemsOf(expr.left, env), ...itemsOf(expr.right, env)];
  if (expr.kind === "binary" && expr.op === "+") {
    const parts = summandsOf(expr).map((summand) => factorsOf(summand, env));
    return [{ parts, size: parts.reduce((n, p) => n + product(p), 0) }];
  }
  return factorsOf(expr, env);
}

function summandsOf(expr: Expr): readonly Expr[] {
  return expr.kind === "binary" && expr.op === "+" ? [...summandsOf(expr.left), ...summandsOf(expr.right)] : [expr];
}

function factorsOf(expr: Expr, env: Env): readonly Factor[] {
  if (expr.kind === "binary" && expr.op === "*") return [...factorsOf(expr.left, env), ...factorsOf(expr.right, env)];
  const value = evaluate(env, expr);
  if (expr.kind === "number") return [{ label: null, size: expr.value }];
  const size = value.kind === "axis" ? value.size.value : null;
  if (size === null) {
    if (value.kind !== "error")
      env.ctx.bag.error("map/layout", "a layout is made of the model's sizes", [
        { span: expr.span, text: "not a size" },
      ]);
    return [];
  }
  return [{ label: expr.kind === "name" ? expr.name.text : null, size }];
}

function join(a: string, b: string): string {
  return a === "" || b === "" ? a + b : `${a}.${b}`;
}

function substitute(pattern: string, indices: ReadonlyMap<string, number>): string {
  return pattern.replace(/\{(\w+)\}/g, (whole, name: string) => String(indices.get(name) ?? whole));
}
