/**
 * The model that an upcycling makes: named, or chosen by what `mixture` declarations say of a source's family. It takes its
 * arguments from the upcycling, then from that declaration, the rest by name from the sources.
 */
import type { Arg, LayerDecl, UpcycleDecl } from "../../../grammar/ast.ts";
import { MoeError } from "../../../grammar/diagnostic.ts";
import { suggest } from "../../../grammar/index.ts";
import type { Span } from "../../../grammar/span.ts";
import { bindParameters } from "../../language/interpret/call.ts";
import { type Env, evaluate, staticEnv } from "../../language/interpret/context.ts";
import { instantiate } from "../../language/interpret/instance.ts";
import type { Value } from "../../language/interpret/value.ts";
import { toJson } from "../map/config-value.ts";
import { listParameters, type Model } from "../../language/model/model.ts";
import type { MixtureBinding, Scope } from "../../language/resolve/scope.ts";
import { reportUnknownModel } from "../../language/resolve/unknown.ts";
import { isSameFamily, namesIn } from "./bind.ts";

export interface Family {
  readonly decl: LayerDecl;
  readonly scope: Scope;
  /** Of a model of the family: sizes that go together, where not all do. */
  readonly args?: ReadonlyMap<string, Value>;
}

export interface Target {
  readonly model: Model;
  /** The declaration that it was chosen by. */
  readonly mixture: MixtureBinding | null;
  /** Why it is this one, for rules that it has no place for. */
  readonly notes: readonly string[];
}

/** Throws `MoeError`. `to` is the name of a model that is made instead. */
export function makeTarget(
  decl: UpcycleDecl,
  scope: Scope,
  sources: readonly Model[],
  sourceIndex: ReadonlyMap<string, readonly number[]>,
  env: Env,
  to: string | null,
): Target {
  const { bag } = env.ctx;
  const choice = chooseTarget(decl, scope, sources, sourceIndex, env, to);
  if (choice === null) throw new MoeError(bag.list);
  const { family, bound: settled } = choice;
  const target = family.decl;
  const plain = { kind: "constructor" as const, decl: target, scope: family.scope, bound: new Map<string, Value>() };
  // What is chosen may lack what is only asked for on demand.
  const args = decl.targetOf === null ? decl.targetArgs : decl.targetArgs.filter((a) => !isNone(env, a));
  checkMembers(args, sources, sourceIndex, env);
  const callee = bindParameters(env, plain, args);
  if (callee.kind !== "constructor") throw new MoeError(bag.list);
  const bound = new Map([...settled, ...callee.bound].map(([name, value]) => [name, ownSize(name, value)]));
  takeByName(target, sources, bound, env);
  if (bag.hasErrors) throw new MoeError(bag.list);
  const instance = instantiate(env.ctx, { ...callee, bound }, "", [], decl.target.span);
  if (bag.hasErrors || instance === null) throw new MoeError(bag.list);
  const model = { name: target.name.text, instance, args: instance.args, parameters: listParameters(instance) };
  return { model, mixture: choice.mixture, notes: choice.mixture === null ? [] : notesOf(choice.mixture, scope) };
}

/** Of a mixture that another file declares: how to have another, and for which families there is one beside the upcycling. */
function notesOf({ item: { model, of }, scope: declared }: MixtureBinding, scope: Scope): readonly string[] {
  if (declared === scope) return [];
  const own = new Set(scope.mixtures().flatMap((m) => (m.scope === scope ? [m.item.of.text] : [])));
  return [
    `\`${model.text}\` is declared to be the mixture of \`${of.text}\`: --to NAME makes another, as does \`mixture NAME of ${of.text}\` beside the upcycling`,
    ...(own.size === 0 ? [] : [`beside the upcycling there are declarations of mixtures of ${[...own].join(", ")}`]),
  ];
}

/** Axes of the target are named by its own parameters, whatever of a source gave their sizes. */
const ownSize = (name: string, value: Value): Value => (value.kind === "axis" ? { ...value, label: name } : value);

/** Models of a list that are an argument together are of one shape, with the same settings. */
function checkMembers(
  args: readonly Arg[],
  sources: readonly Model[],
  sourceIndex: ReadonlyMap<string, readonly number[]>,
  env: Env,
): void {
  for (const { value, span } of args)
    for (const name of namesIn(value)) {
      const [first, ...others] = (sourceIndex.get(name) ?? []).map((i) => sources[i]!);
      for (const [setting, own] of first?.args ?? []) {
        const texts = new Set([own, ...others.map((s) => s.args.get(setting)!)].map((v) => JSON.stringify(toJson(v))));
        if (texts.size > 1) return reportDiffering(env, `\`${setting}\`: ${[...texts].join(", ")}`, span, []);
      }
    }
}

const isNone = (env: Env, arg: Arg): boolean => evaluate(env, arg.value).kind === "none";

interface Choice extends Pick<Related, "family" | "mixture"> {
  /** Arguments that a declaration gives. */
  readonly bound: ReadonlyMap<string, Value>;
}

function chooseTarget(
  decl: UpcycleDecl,
  scope: Scope,
  sources: readonly Model[],
  sourceIndex: ReadonlyMap<string, readonly number[]>,
  env: Env,
  to: string | null,
): Choice | null {
  const source = sources[sourceIndex.get(decl.targetOf?.text ?? "")?.[0] ?? 0];
  const related = decl.targetOf === null || source === undefined ? [] : relatedTo(scope, decl.target.text, source);
  if (to !== null) {
    const declared = related.find((r) => r.family.decl.name.text === to);
    if (declared !== undefined) return bindChoice(declared, source!, env);
    const named = chooseNamed(scope.lookup(to) ?? scope.library(to));
    if (named !== null) return named;
    const near = suggest(to, [...scope.names(), ...scope.mixtures().map((m) => m.item.model.text)]);
    env.ctx.bag.error(
      "name/unknown",
      `there is no model \`${to}\``,
      [{ span: decl.target.span, text: "asked for instead of this" }],
      near === null ? "name a model of the library, or one that the file imports" : `did you mean \`${near}\`?`,
    );
    return null;
  }
  if (decl.targetOf === null) {
    const named = chooseNamed(scope.lookup(decl.target.text));
    if (named === null) reportUnknownModel(env.ctx.bag, scope, decl.target);
    return named;
  }
  if (source === undefined) return null;
  const [first] = related;
  if (first !== undefined) return bindChoice(first, source, env);
  reportNoRelation(decl, scope, source, env);
  return null;
}

/** A model that was asked for by its name; null where that names no layer. */
function chooseNamed(found: ReturnType<Scope["lookup"]>): Choice | null {
  if (found?.item.kind !== "layer") return null;
  return { family: { decl: found.item, scope: found.scope }, mixture: null, bound: new Map() };
}

interface Related {
  readonly family: Family;
  /** The declaration whose rules it begins by. */
  readonly mixture: MixtureBinding | null;
  /** What a declaration says of its parameters, and where. */
  readonly args: readonly Arg[];
  readonly scope: Scope;
}

/** What stands in a relation to a source's family, what is declared first being first. A new relation is a line here. */
function relatedTo(scope: Scope, relation: string, source: Model): readonly Related[] {
  const own = source.instance.decl;
  switch (relation) {
    case "model":
      return [{ family: { decl: own, scope: source.instance.scope }, mixture: null, args: [], scope }];
    case "mixture":
      return mixturesOf(scope, own);
    case "dense":
      return scope.mixtures().flatMap((binding) => {
        const { of, model } = declaredFamilies(binding);
        if (model === null || !isSameFamily(model.decl, own) || of === null) return [];
        return [{ family: of, mixture: null, args: binding.item.ofArgs, scope: binding.scope }];
      });
    default:
      return mixturesOf(scope, own).filter((r) => r.family.decl.name.text === relation);
  }
}

function mixturesOf(scope: Scope, dense: LayerDecl): readonly Related[] {
  return scope.mixtures().flatMap((binding) => {
    const { of, model } = declaredFamilies(binding);
    if (of === null || !isSameFamily(of.decl, dense) || model === null) return [];
    return [{ family: model, mixture: binding, args: binding.item.args, scope: binding.scope }];
  });
}

/** Beside these, the name of a model: what its own declaration says of a source's family. */
export const RELATIONS = ["mixture", "dense", "model"] as const;

/** The models that a declaration relates; null for one that is not there. */
export function declaredFamilies({ item, scope }: MixtureBinding): {
  readonly model: Family | null;
  readonly of: Family | null;
} {
  const find = (name: string): Family | null => {
    const found = scope.lookup(name);
    return found?.item.kind === "layer" ? { decl: found.item, scope: found.scope } : null;
  };
  return { model: find(item.model.text), of: find(item.of.text) };
}

/** Arguments of the declaration, in the source's parameters. */
function bindChoice({ family, mixture, args, scope }: Related, source: Model, env: Env): Choice | null {
  const plain = { kind: "constructor" as const, ...family, bound: new Map<string, Value>() };
  const callee = bindParameters(staticEnv(env.ctx, scope, new Map(source.args)), plain, args);
  return callee.kind === "constructor" ? { family, mixture, bound: callee.bound } : null;
}

function reportNoRelation(decl: UpcycleDecl, scope: Scope, source: Model, env: Env): void {
  const relation = decl.target.text;
  const dense = relation === "dense";
  const isNamed = !RELATIONS.some((r) => r === relation);
  const declared = scope.mixtures().filter(({ item }) => !isNamed || item.model.text === relation);
  const known = new Set(declared.map(({ item }) => (dense ? item.model.text : item.of.text)));
  env.ctx.bag.error(
    "upcycle/no-mixture",
    dense
      ? `\`${source.name}\` is no family's mixture`
      : `${isNamed ? `\`${relation}\`` : "no model"} is${isNamed ? " not" : ""} declared to be the mixture of \`${source.name}\``,
    [{ span: decl.target.span, text: "chosen by the source" }],
    `write \`mixture ${dense ? source.name : isNamed ? relation : "NAME"} of ${dense ? "NAME" : source.name}\` beside the upcycling, or give --to NAME`,
    known.size === 0 ? [] : [`there are declarations ${dense ? "for" : "of mixtures of"} ${[...known].join(", ")}`],
  );
}

/** What is left comes from the sources, which must agree; where some are of the target's own kind, from these. */
function takeByName(target: LayerDecl, sources: readonly Model[], bound: Map<string, Value>, env: Env): void {
  const differing: { readonly span: Span; readonly text: string; readonly isSize: boolean }[] = [];
  const kin = sources.filter((s) => isSameFamily(s.instance.decl, target));
  for (const param of target.params) {
    const name = param.name.text;
    if (bound.has(name)) continue;
    const own = kin.flatMap((s) => s.args.get(name) ?? []);
    const values = own.length > 0 ? own : sources.flatMap((s) => s.args.get(name) ?? []);
    const texts = new Set(values.map((v) => JSON.stringify(toJson(v))));
    const text = `\`${name}\`: ${[...texts].join(", ")}`;
    if (texts.size > 1) differing.push({ span: param.span, text, isSize: param.default === null });
    const [value] = values;
    if (value !== undefined) bound.set(name, value);
  }
  const [first, ...others] = differing;
  if (first !== undefined)
    reportDiffering(
      env,
      first.text,
      first.span,
      others.map((o) => o.text),
      !differing.some((d) => d.isSize),
    );
}

/** Of sizes there is no choice: the weights have them. */
const WHOSE = ", or say whose setting counts: --take NAME=base for one, --take base for all";

function reportDiffering(env: Env, what: string, span: Span, others: readonly string[], canTake = true): void {
  env.ctx.bag.error(
    "upcycle/sources-differ",
    `the sources disagree on ${what}`,
    [{ span, text: "needed here" }],
    `upcycle checkpoints that were trained from one seed${canTake ? WHOSE : ""}`,
    others.length === 0 ? [] : [`they disagree on ${others.join("; ")} as well`],
  );
}
