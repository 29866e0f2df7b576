/**
 * Which optimizer steps each parameter of a model, with which arguments and at which rate. Rules are about paths: the longer path wins, of
 * equally long ones the later. A value may be in terms of what it takes the place of: `rate = 10 * rate`; and of the indices of its path, such as
 * the number of a layer: `blocks[l] { rate = rate * pow(0.9, l) }`.
 */
import type { Expr, Name } from "../../grammar/ast.ts";
import { DiagnosticBag, MoeError } from "../../grammar/diagnostic.ts";
import { walk } from "../../grammar/index.ts";
import { type Span, textOf } from "../../grammar/span.ts";
import { Dim } from "../graph/dim.ts";
import type { Axis } from "../graph/type.ts";
import { type Env, evaluate, report, staticEnv } from "../language/interpret/context.ts";
import { isElementwise } from "../language/interpret/shape.ts";
import { type ConstructorValue, describeValue, type Value } from "../language/interpret/value.ts";
import { listParameters, type Model, type ModelParameter, newContext } from "../language/model/model.ts";
import type { Scope } from "../language/resolve/scope.ts";
import type { HostScalar } from "../plan/plan.ts";
import type { ScalarExpr } from "../plan/scalar.ts";
import { resolvePath } from "../weights/map/path.ts";
import { runsOf } from "../weights/upcycle/runs.ts";
import { buildOptimizer, optimizerFor, type OptimizerRule, type Rate, rateOfStep } from "./optimizer.ts";

/** What is set for the parameters below some paths: `rate`, `optimizer`, or an argument of the optimizer that they have. */
export interface PathRule {
  readonly paths: readonly Expr[];
  readonly values: readonly { readonly name: Name; readonly value: Expr }[];
}

export interface TrainingSettings {
  /** In which expressions are read. */
  readonly scope: Scope;
  readonly optimizer: Expr;
  /** Over `t`, the number of the step, and `steps`, how many there are. */
  readonly rate: Expr;
  readonly rules: readonly PathRule[];
  /** Paths of what is not trained; those of what is, where not all else is. */
  readonly frozen: readonly Expr[];
  readonly only: readonly Expr[] | null;
}

export interface Groups {
  /** False of states too. */
  readonly trains: (path: string) => boolean;
  /** Of a parameter that is trained. */
  readonly ruleOf: (path: string) => OptimizerRule;
  readonly scalars: readonly HostScalar[];
}

/** The host scalar that reports call the rate: that of parameters for which nothing else is said. */
export const RATE = "rate";

/** Throws a `MoeError`: `train/part`, `train/state`, `train/nothing`, and whatever is wrong with paths and expressions. */
export function groupParameters(model: Model, settings: TrainingSettings): Groups {
  const grouping = new Grouping(model, settings);
  const rules = new Map<string, OptimizerRule>();
  for (const parameter of model.parameters)
    if (!parameter.state && grouping.trains(parameter.path)) rules.set(parameter.path, grouping.ruleFor(parameter));
  grouping.finish(rules.size);
  const scalars = new Map([...rules.values()].flatMap((rule) => rule.scalars.map((s) => [s.id, s] as const)));
  scalars.set(RATE, { id: RATE, expr: grouping.rate() });
  return {
    trains: (path) => rules.has(path),
    ruleOf: (path) => {
      const rule = rules.get(path);
      if (rule === undefined) throw new Error(`${path} is not trained`);
      return rule;
    },
    scalars: [...scalars.values()],
  };
}

/** A path that leads to a parameter. */
interface Hit<T> {
  readonly what: T;
  /** Steps of the path, then its place among all. */
  readonly strength: readonly [number, number];
  readonly indices: ReadonlyMap<string, number>;
}

class Grouping {
  readonly #model: Model;
  readonly #settings: TrainingSettings;
  readonly #bag = new DiagnosticBag();
  readonly #env: Env;
  readonly #rules: ReadonlyMap<string, readonly Hit<PathRule>[]>;
  readonly #kept: ReadonlyMap<string, readonly Hit<boolean>[]>;
  readonly #built = new Map<string, OptimizerRule>();
  /** Values that some optimizer has taken. */
  readonly #taken = new Set<Expr>();

  constructor(model: Model, settings: TrainingSettings) {
    this.#model = model;
    this.#settings = settings;
    this.#env = staticEnv(newContext("build", this.#bag), settings.scope);
    const { rules, frozen, only } = settings;
    this.#rules = this.#hits(rules.flatMap((rule) => rule.paths.map((path) => [path, rule] as const)));
    this.#kept = this.#hits([
      ...(only ?? []).map((path) => [path, true] as const),
      ...frozen.map((path) => [path, false] as const),
    ]);
    this.#stop();
  }

  /** Where no rule says another. */
  rate(): ScalarExpr {
    return rateOfStep(this.#rateOf([]));
  }

  trains(path: string): boolean {
    return this.#kept.get(path)?.at(-1)?.what ?? this.#settings.only === null;
  }

  ruleFor(parameter: ModelParameter): OptimizerRule {
    const hits = this.#rules.get(parameter.path) ?? [];
    const axes = parameter.axes.map((a): Axis => ({ name: a.name, size: Dim.of(a.size), origin: null }));
    const { optimizer, at } = this.#optimizerOf(hits, axes);
    const key = JSON.stringify([
      ...hits.map(({ what, indices }) => [this.#settings.rules.indexOf(what), ...mentioned(what, indices)]),
      textOf(optimizer.decl.name.span),
      isElementwise(optimizer.decl) ? null : parameter.axes,
    ]);
    const known = this.#built.get(key);
    for (const { what } of hits)
      for (const { name, value } of what.values)
        if (name.text === "rate" || hasParameter(optimizer, name)) this.#taken.add(value);
    if (known !== undefined) return known;
    const built = buildOptimizer(this.#withArguments(optimizer, hits), axes, this.#rateOf(hits), at);
    this.#built.set(key, built);
    return built;
  }

  /** Reports values that nobody took. */
  finish(trained: number): void {
    for (const { name, value } of this.#settings.rules.flatMap((rule) => rule.values))
      if (!this.#taken.has(value))
        report(
          this.#env,
          "name/no-parameter",
          `no optimizer of what is trained here has a parameter \`${name.text}\``,
          name.span,
          "not a parameter",
          "set `rate`, `optimizer`, or a parameter of the optimizer",
        );
    if (trained === 0)
      report(
        this.#env,
        "train/nothing",
        `no parameter of \`${this.#model.name}\` is trained`,
        (this.#settings.only?.[0] ?? this.#settings.frozen[0] ?? this.#settings.optimizer).span,
        "leaves none",
        "freeze less, or name in `only` what is trained",
      );
    this.#stop();
  }

  /** The parameters that paths lead to, with what is said of each there, the strongest last. */
  #hits<T>(said: readonly (readonly [Expr, T])[]): ReadonlyMap<string, readonly Hit<T>[]> {
    const found = new Map<string, Hit<T>[]>();
    for (const [i, [path, what]] of said.entries())
      for (const [parameter, indices] of this.#parametersBelow(path)) {
        const hits = found.get(parameter) ?? [];
        hits.push({ what, strength: [textOf(path.span).split(/[.[]/).length, i], indices });
        found.set(parameter, hits);
      }
    for (const hits of found.values())
      hits.sort((a, b) => a.strength[0] - b.strength[0] || a.strength[1] - b.strength[1]);
    return found;
  }

  #parametersBelow(path: Expr): ReadonlyMap<string, ReadonlyMap<string, number>> {
    const bag = new DiagnosticBag();
    const env = { ...this.#env, ctx: { ...this.#env.ctx, bag } };
    const found = resolvePath(env, this.#model.instance, path, { indices: new Map(), layers: new Map() });
    // Layers of a stack may differ: a path need not be in all of them, but in one.
    const wrong = bag.list.find((d) => found.length === 0 || d.code !== "map/no-member");
    if (wrong !== undefined) throw new MoeError(wrong);
    const all = new Map(listParameters(this.#model.instance).map((p) => [p.path, p]));
    const covered = new Map<string, { elements: number; readonly indices: ReadonlyMap<string, number> }>();
    for (const one of found)
      for (const { path: parameter, sizes } of runsOf(one)) {
        const before = covered.get(parameter) ?? { elements: 0, indices: one.indices };
        before.elements += sizes.reduce((a, b) => a * b, 1);
        covered.set(parameter, before);
      }
    for (const [parameter, { elements }] of covered)
      if (elements < all.get(parameter)!.axes.reduce((n, a) => n * a.size, 1))
        report(
          this.#env,
          "train/part",
          `\`${textOf(path.span)}\` is a part of \`${parameter}\`, which is trained as a whole`,
          path.span,
          "a part",
          "put a name in place of the number, which stands for all: `experts[n]`",
        );
    const trainable = new Map([...covered].filter(([parameter]) => all.get(parameter)?.state === false));
    if (trainable.size === 0)
      report(
        this.#env,
        "train/state",
        `there is nothing that an optimizer changes in \`${textOf(path.span)}\``,
        path.span,
        covered.size > 0 ? "a state, which its own `update` changes" : "without parameters",
        "name a layer with parameters, or a parameter",
      );
    return new Map([...trainable].map(([parameter, { indices }]) => [parameter, indices]));
  }

  #optimizerOf(
    hits: readonly Hit<PathRule>[],
    axes: readonly Axis[],
  ): { readonly optimizer: ConstructorValue; readonly at: Span } {
    let [expr, indices]: [Expr, ReadonlyMap<string, number>] = [this.#settings.optimizer, new Map()];
    for (const hit of hits)
      for (const { name, value } of hit.what.values)
        if (name.text === "optimizer") {
          this.#taken.add(value);
          [expr, indices] = [value, hit.indices];
        }
    const value = evaluate({ ...this.#env, locals: new Map(numbersOf(indices)) }, expr);
    if (value.kind !== "constructor" || value.decl.keyword !== "optimizer") {
      if (value.kind !== "error")
        report(
          this.#env,
          "type/not-an-optimizer",
          `an optimizer is needed here, not ${describeValue(value)}`,
          expr.span,
          "not an optimizer",
          "name what is declared with the word `optimizer`",
        );
      throw new MoeError(this.#bag.list);
    }
    return { optimizer: optimizerFor(value, axes, expr.span), at: expr.span };
  }

  #withArguments(optimizer: ConstructorValue, hits: readonly Hit<PathRule>[]): ConstructorValue {
    const bound = new Map(optimizer.bound);
    const places = new Map<string, Span>();
    for (const { what, indices } of hits)
      for (const { name, value } of what.values) {
        if (!hasParameter(optimizer, name)) continue;
        const locals = new Map<string, Value>(numbersOf(indices));
        const before = bound.get(name.text);
        if (before !== undefined) locals.set(name.text, before);
        bound.set(name.text, evaluate({ ...this.#env, locals }, value));
        places.set(name.text, value.span);
      }
    this.#stop();
    return { ...optimizer, bound, places };
  }

  #rateOf(hits: readonly Hit<PathRule>[]): Rate {
    const { scope } = this.#settings;
    let rate: Rate = { expr: this.#settings.rate, scope, within: null, locals: new Map() };
    for (const { what, indices } of hits)
      for (const { name, value } of what.values)
        if (name.text === "rate") rate = { expr: value, scope, within: rate, locals: new Map(numbersOf(indices)) };
    return rate;
  }

  #stop(): void {
    if (this.#bag.hasErrors) throw new MoeError(this.#bag.list);
  }
}

const hasParameter = ({ decl }: ConstructorValue, { text }: Name): boolean =>
  text !== "optimizer" && decl.params.some((p) => p.name.text === text);

function numbersOf(indices: ReadonlyMap<string, number>): readonly (readonly [string, Value])[] {
  return [...indices].map(([name, value]) => [name, { kind: "number", value, float: false }] as const);
}

/** The indices that a rule's values read, so that layers for which they say the same have one rule. */
function mentioned({ values }: PathRule, indices: ReadonlyMap<string, number>): readonly (readonly [string, number])[] {
  const names = new Set<string>();
  for (const { value } of values)
    walk(value, (node) => {
      if (node.kind === "name" && "name" in node) names.add(node.name.text);
    });
  return [...indices].filter(([name]) => names.has(name));
}
