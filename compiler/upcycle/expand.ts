/**
 * Expands an `upcycle` declaration over its sources: the target's parameters from theirs, then every rule over the paths
 * it names, special rules over general ones. Total: an element of the target that no rule gives is an error.
 */
import type { Expr, UpcycleDecl, UpcycleRule } from "../../grammar/ast.ts";
import { DiagnosticBag, MoeError } from "../../grammar/diagnostic.ts";
import { walk } from "../../grammar/index.ts";
import type { Span } from "../../grammar/span.ts";
import { bindParameters } from "../interpret/call.ts";
import type { Env } from "../interpret/context.ts";
import { evaluate, staticEnv } from "../interpret/context.ts";
import { instantiate } from "../interpret/instance.ts";
import type { Value } from "../interpret/value.ts";
import { toJson } from "../map/config-value.ts";
import { type Found, resolvePath } from "../map/path.ts";
import { listParameters, newContext, type Model } from "../model/model.ts";
import type { Scope } from "../resolve/modules.ts";
import { reportUnknownModel, reportUnknownParameter } from "../resolve/unknown.ts";
import { evaluateRule } from "./evaluate.ts";
import type { Assignment } from "./recipe.ts";
import { runsOf } from "./runs.ts";
import type { UpcycleScope } from "./source.ts";

export interface Upcycling {
  readonly decl: UpcycleDecl;
  readonly scope: Scope;
  readonly sources: readonly Model[];
  readonly target: Model;
  readonly assignments: readonly Assignment[];
  /** Names in `ensures`: the sources by parameter, `self`. */
  readonly sourceIndex: ReadonlyMap<string, readonly number[]>;
}

/** `sources` in the order of the declaration's source parameters; `options` are its compile-time parameters by name. */
export function expandUpcycle(
  decl: UpcycleDecl,
  scope: Scope,
  sources: readonly Model[],
  options: ReadonlyMap<string, Value> = new Map(),
): Upcycling {
  const bag = new DiagnosticBag();
  const ctx = newContext("build", bag);
  const locals = new Map<string, Value>();
  const env = staticEnv(ctx, scope, locals);
  const sourceIndex = bindSources(decl, sources, locals, bag);
  const declared = new Set(decl.params.map((p) => p.name.text));
  bindSettings(sources, locals);
  for (const name of declared) locals.delete(name);
  for (const param of decl.params) {
    if (param.source !== null) continue;
    const value = options.get(param.name.text) ?? (param.default === null ? null : evaluate(env, param.default));
    if (value === null)
      bag.error(
        "upcycle/missing-parameter",
        `\`${decl.name.text}\` needs \`${param.name.text}\``,
        [{ span: param.span, text: "declared here" }],
        `give it as --param ${param.name.text}=VALUE`,
      );
    else locals.set(param.name.text, value);
  }
  for (const name of options.keys()) {
    if (decl.params.some((p) => p.source === null && p.name.text === name)) continue;
    reportUnknownParameter(bag, decl, name, decl.name.span, "declared here");
  }
  stopOnErrors(bag);
  for (const condition of decl.where) {
    const holds = evaluate(env, condition);
    if (holds.kind === "bool" && !holds.value)
      bag.error(
        "upcycle/where",
        `\`${decl.name.text}\` requires \`${textOf(condition)}\``,
        [{ span: condition.span, text: "required here" }],
        "change the parameters or the number of sources",
        namesIn(condition).flatMap((n) => (locals.has(n) ? [`${n} = ${JSON.stringify(toJson(locals.get(n)!))}`] : [])),
      );
  }
  stopOnErrors(bag);
  const target = makeTarget(decl, scope, sources, env);
  const where: UpcycleScope = { env, sources, sourceIndex, indices: numbersOf(locals) };
  const assignments = applyRules(decl, target, where);
  stopOnErrors(bag);
  checkCoverage(decl, target, assignments, bag);
  stopOnErrors(bag);
  return { decl, scope, sources, target, assignments, sourceIndex };
}

/** Parameters that are whole numbers, which indices may name: `experts[N]` is one expert. */
function numbersOf(locals: ReadonlyMap<string, Value>): ReadonlyMap<string, number> {
  return new Map(
    [...locals].flatMap(([name, v]): [string, number][] => {
      const value = v.kind === "number" && !v.float ? v.value : v.kind === "axis" ? v.size.value : null;
      return value === null ? [] : [[name, value]];
    }),
  );
}

/** Parameters of the sources on which all that have them agree, under their names. */
function bindSettings(sources: readonly Model[], locals: Map<string, Value>): void {
  const given = new Set(locals.keys());
  const differing = new Set<string>();
  for (const [name, value] of sources.flatMap((s) => [...s.args])) {
    if (given.has(name) || differing.has(name)) continue;
    const known = locals.get(name);
    if (known === undefined || JSON.stringify(toJson(known)) === JSON.stringify(toJson(value))) locals.set(name, value);
    else {
      locals.delete(name);
      differing.add(name);
    }
  }
}

function stopOnErrors(bag: DiagnosticBag): void {
  if (bag.hasErrors) throw new MoeError(bag.list);
}

function bindSources(
  decl: UpcycleDecl,
  sources: readonly Model[],
  locals: Map<string, Value>,
  bag: DiagnosticBag,
): ReadonlyMap<string, readonly number[]> {
  const index = new Map<string, readonly number[]>();
  const params = decl.params.filter((p) => p.source !== null);
  const single = params.filter((p) => p.source!.count === null).length;
  let next = 0;
  for (const param of params) {
    const count = param.source!.count === null ? 1 : sources.length - single;
    const mine = Array.from({ length: Math.max(0, count) }, () => next++);
    index.set(param.name.text, mine);
    if (param.source!.count !== null) {
      const name = param.source!.count.text;
      locals.set(name, { kind: "number", value: mine.length, float: false });
    }
    for (const i of mine) {
      const model = sources[i];
      if (model !== undefined && model.name !== param.source!.model.text) {
        bag.error(
          "upcycle/wrong-source",
          `\`${param.name.text}\` is a \`${param.source!.model.text}\`, and source ${i + 1} is a \`${model.name}\``,
          [{ span: param.span, text: "declared here" }],
          "give the sources in the order of the declaration",
        );
      }
    }
  }
  if (next !== sources.length || params.length === 0) {
    bag.error(
      "upcycle/source-count",
      `\`${decl.name.text}\` takes ${single === params.length ? single : "one or more"} source${single === 1 && params.length === 1 ? "" : "s"}, not ${sources.length}`,
      [{ span: decl.name.span, text: "declared here" }],
      "give one --from per source, in the order of the declaration",
    );
  }
  return index;
}

/**
 * The target takes its arguments from the declaration, the rest by name from the sources, which must agree; where some are of the
 * target's own kind, from these.
 */
function makeTarget(decl: UpcycleDecl, scope: Scope, sources: readonly Model[], env: Env): Model {
  const { bag } = env.ctx;
  const found = scope.lookup(decl.target.text);
  if (found?.item.kind !== "layer") {
    reportUnknownModel(bag, scope, decl.target);
    throw new MoeError(bag.list);
  }
  const target = found.item;
  const callee = bindParameters(
    env,
    { kind: "constructor", decl: target, scope: found.scope, bound: new Map() },
    decl.targetArgs,
  );
  if (callee.kind !== "constructor") throw new MoeError(bag.list);
  const bound = new Map(callee.bound);
  const differing: { readonly span: Span; readonly text: string }[] = [];
  const kin = sources.filter((s) => s.name === target.name.text);
  for (const param of target.params) {
    const name = param.name.text;
    if (bound.has(name)) continue;
    const own = kin.flatMap((s) => s.args.get(name) ?? []);
    const values = own.length > 0 ? own : sources.flatMap((s) => s.args.get(name) ?? []);
    const texts = new Set(values.map((v) => JSON.stringify(toJson(v))));
    if (texts.size > 1) differing.push({ span: param.span, text: `\`${name}\`: ${[...texts].join(", ")}` });
    const [value] = values;
    if (value !== undefined) bound.set(name, value);
  }
  const [first, ...others] = differing;
  if (first !== undefined)
    bag.error(
      "upcycle/sources-differ",
      `the sources disagree on ${first.text}`,
      [{ span: first.span, text: "needed here" }],
      "upcycle checkpoints that were trained from one seed",
      others.length === 0 ? [] : [`they disagree on ${others.map((o) => o.text).join("; ")} as well`],
    );
  stopOnErrors(bag);
  const instance = instantiate(env.ctx, { ...callee, bound }, "", [], decl.target.span);
  stopOnErrors(bag);
  if (instance === null) throw new MoeError(bag.list);
  return { name: target.name.text, instance, args: instance.args, parameters: listParameters(instance) };
}

interface Placed {
  readonly runs: readonly Assignment[];
  /** Default rules are weaker than any other; a longer path is stronger. */
  readonly strength: number;
}

function applyRules(decl: UpcycleDecl, target: Model, where: UpcycleScope): readonly Assignment[] {
  const placed: Placed[] = [];
  const visit = (rules: readonly UpcycleRule[], starts: readonly Found[], depth: number): void => {
    for (const rule of rules) {
      for (const start of starts) {
        if (start.kind !== "layer") continue;
        if (rule.kind === "default") {
          placed.push({ runs: assign(rule.value, start, rule.span, where, true), strength: depth });
          continue;
        }
        const found = resolvePath(where.env, start.instance, rule.path, {
          indices: new Map([...where.indices, ...start.indices]),
          layers: start.layers,
        }).map((f) => ({
          ...f,
          indices: new Map([...start.indices, ...f.indices]),
          banks: new Map([...start.banks, ...f.banks]),
        }));
        const steps = depth + 1 + textOf(rule.path).split(/[.[]/).length;
        if (rule.kind === "scope") visit(rule.rules, found, steps);
        else
          for (const f of found) placed.push({ runs: assign(rule.value, f, rule.span, where, false), strength: steps });
      }
    }
  };
  const root: Found = {
    kind: "layer",
    instance: target.instance,
    path: "",
    indices: new Map(),
    banks: new Map(),
    layers: new Map(),
  };
  visit(decl.rules, [root], 0);
  return layer(placed);
}

function assign(value: Expr, found: Found, rule: Span, where: UpcycleScope, partial: boolean): readonly Assignment[] {
  const indices = new Map([...where.indices, ...found.indices]);
  const numbers = [...found.indices].map(([n, i]): [string, Value] => [n, { kind: "number", value: i, float: false }]);
  const env = { ...where.env, locals: new Map([...where.env.locals, ...numbers]) };
  return evaluateRule(value, { ...where, env, indices }, runsOf(found), partial).map((a) => ({ ...a, rule }));
}

/** Later and stronger rules replace what weaker ones gave to the same runs. */
function layer(placed: readonly Placed[]): readonly Assignment[] {
  const byKey = new Map<string, { assignment: Assignment; strength: number }>();
  for (const { runs, strength } of placed) {
    for (const assignment of runs) {
      const key = `${assignment.path}@${assignment.start}`;
      const old = byKey.get(key);
      if (old === undefined || old.strength <= strength) byKey.set(key, { assignment, strength });
    }
  }
  return [...byKey.values()].map((e) => e.assignment);
}

function checkCoverage(decl: UpcycleDecl, target: Model, assignments: readonly Assignment[], bag: DiagnosticBag): void {
  const covered = new Map<string, Assignment[]>();
  for (const a of assignments) covered.set(a.path, [...(covered.get(a.path) ?? []), a]);
  const missing: string[] = [];
  for (const parameter of target.parameters) {
    const count = parameter.axes.reduce((n, a) => n * a.size, 1);
    const runs = (covered.get(parameter.path) ?? []).sort((a, b) => a.start - b.start);
    let end = 0;
    for (const [i, run] of runs.entries()) {
      if (run.start < end) {
        bag.error(
          "upcycle/overlap",
          `\`${parameter.path}\` is given twice`,
          [
            { span: run.rule, text: "here" },
            { span: runs[i - 1]!.rule, text: "and here" },
          ],
          "let one rule name all of it, or each its own experts",
        );
        return;
      }
      if (run.start > end) break;
      end = run.start + run.length;
    }
    if (end < count) missing.push(parameter.path);
  }
  const [first] = missing;
  if (first !== undefined) {
    const span = target.parameters.find((p) => p.path === first)!.span;
    bag.error(
      "upcycle/not-total",
      `no rule gives \`${first}\`${missing.length > 1 ? ` (and ${missing.length - 1} more)` : ""}`,
      [
        { span: decl.name.span, text: "in this upcycling" },
        { span, text: "declared here" },
      ],
      `add a rule such as \`${first.replace(/\[\d+\]/g, "[l]")} = normal(std: 0.02, seed: 1)\``,
    );
  }
}

/** Names that an expression mentions, once each. */
export function namesIn(expr: Expr): readonly string[] {
  const names = new Set<string>();
  walk(expr, (node) => {
    if (node.kind === "name" && "name" in node) names.add(node.name.text);
  });
  return [...names];
}

function textOf(expr: Expr): string {
  return expr.span.file.text.slice(expr.span.start, expr.span.end);
}
