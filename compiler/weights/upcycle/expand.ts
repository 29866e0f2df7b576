/**
 * Expands an `upcycle` declaration over its sources: the target's parameters from theirs, then every rule over the paths
 * it names, special rules over general ones. Total: an element of the target that no rule gives is an error.
 */
import type { Expr, UpcycleDecl, UpcycleRule } from "../../../grammar/ast.ts";
import { DiagnosticBag, MoeError } from "../../../grammar/diagnostic.ts";
import { type Span, textOf } from "../../../grammar/span.ts";
import type { Value } from "../../language/interpret/value.ts";
import { type Found, resolvePath } from "../map/path.ts";
import type { Model } from "../../language/model/model.ts";
import type { Scope } from "../../language/resolve/scope.ts";
import { bindNames } from "./bind.ts";
import { evaluateRule } from "./evaluate.ts";
import { type Prompts, SMALL_PROMPTS } from "./observe.ts";
import type { Assignment } from "./recipe.ts";
import { runsOf } from "./runs.ts";
import type { UpcycleScope } from "./source.ts";
import { makeTarget } from "./target.ts";
import { checkSources, checkTarget, type LeftOut } from "./total.ts";

export interface Upcycling {
  readonly decl: UpcycleDecl;
  readonly scope: Scope;
  readonly sources: readonly Model[];
  readonly target: Model;
  readonly assignments: readonly Assignment[];
  readonly leftOut: readonly LeftOut[];
  /** Names in `ensures`: the sources by parameter, `self`. */
  readonly sourceIndex: ReadonlyMap<string, readonly number[]>;
}

/**
 * `sources` in the order of the declaration's source parameters; `options` are its compile-time parameters by name; `to` names a
 * model that is made instead of the declared or chosen one. Unless `prompts` says how they are read, those of rules are read as for a small
 * instance. Throws `MoeError` with what does not fit.
 */
export function expandUpcycle(
  decl: UpcycleDecl,
  scope: Scope,
  sources: readonly Model[],
  options: ReadonlyMap<string, Value> = new Map(),
  to: string | null = null,
  prompts: Prompts = SMALL_PROMPTS,
): Upcycling {
  const bag = new DiagnosticBag();
  const { env, sourceIndex } = bindNames(decl, scope, sources, options, bag);
  const { model: target, mixture, notes } = makeTarget(decl, scope, sources, sourceIndex, env, to);
  const lists = decl.params.flatMap(({ name, source }): [string, string][] =>
    source?.count == null ? [] : [[source.count.text, name.text]],
  );
  const where: UpcycleScope = {
    env,
    sources,
    target,
    sourceIndex,
    lists: new Map(lists),
    indices: numbersOf(env.locals),
    each: new Map(),
    prompts,
    prompt: shareEqual(),
    share: shareEqual(),
  };
  const placed = applyRules(decl.rules, target, where, 0, notes);
  if (mixture !== null) {
    const within = { ...where, env: { ...env, scope: mixture.scope } };
    placed.push(...applyRules(mixture.item.rules, target, within, WEAKEST));
  }
  stopOnErrors(bag);
  const layered = layer(placed);
  checkTarget(decl, target, layered, bag);
  // What a stronger rule replaces was used: its author has named what comes in its place.
  const given = placed.flatMap((p) => p.runs);
  const leftOut = checkSources(decl, where, given);
  stopOnErrors(bag);
  // Ends of interpolations are copies then, byte for byte.
  const assignments = layered.map((a) => ({ ...a, terms: a.terms.filter((t) => t.weight !== 0) }));
  return { decl, scope, sources, target, assignments, leftOut, sourceIndex };
}

/** The first of all values that are equal. */
function shareEqual<T>(): (value: T) => T {
  const known = new Map<string, T>();
  return (value) => {
    const key = JSON.stringify(value);
    const found = known.get(key) ?? value;
    known.set(key, found);
    return found;
  };
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

/** What is wrong in every layer is told once. */
function stopOnErrors(bag: DiagnosticBag): void {
  if (!bag.hasErrors) return;
  const distinct = Map.groupBy(bag.list, ({ code, message, labels: [first] }) =>
    JSON.stringify([code, message, first?.span.file.path, first?.span.start]),
  );
  throw new MoeError([...distinct.values()].map(([first]) => first!));
}

interface Placed {
  readonly runs: readonly Assignment[];
  /** Default rules are weaker than any other; a longer path is stronger. */
  readonly strength: number;
}

/** What a mixture begins with is weaker than anything that an upcycling says. */
const WEAKEST = -1e6;

/** `notes` are for rules that the target has no place for. */
function applyRules(
  rules: readonly UpcycleRule[],
  target: Model,
  where: UpcycleScope,
  strength: number,
  notes: readonly string[] = [],
): Placed[] {
  const placed: Placed[] = [];
  const visit = (rules: readonly UpcycleRule[], starts: readonly Found[], depth: number): void => {
    for (const rule of rules) {
      if (rule.kind === "ignore") continue;
      if (rule.kind === "default") {
        for (const start of starts)
          placed.push({ runs: assign(rule.value, start, rule.span, where, true), strength: depth });
        continue;
      }
      const found = findPlaces(rule.path, starts, where, notes);
      const steps = depth + 1 + textOf(rule.path.span).split(/[.[]/).length;
      if (rule.kind === "scope") visit(rule.rules, found, steps);
      else
        for (const f of found) placed.push({ runs: assign(rule.value, f, rule.span, where, false), strength: steps });
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
  visit(rules, [root], strength);
  return placed;
}

/** What a path means below each of `starts`. Layers of a stack may differ: a path need not be in all of them, but in one. */
function findPlaces(
  path: Expr,
  starts: readonly Found[],
  where: UpcycleScope,
  notes: readonly string[],
): readonly Found[] {
  const [quiet, absent] = [new DiagnosticBag(), new DiagnosticBag()];
  const env = { ...where.env, ctx: { ...where.env.ctx, bag: quiet } };
  const found = starts.flatMap((start) => {
    if (start.kind !== "layer") return [];
    const from = { indices: new Map([...where.indices, ...start.indices]), layers: start.layers, absent };
    return resolvePath(env, start.instance, path, from).map((f) => ({
      ...f,
      indices: new Map([...start.indices, ...f.indices]),
      banks: new Map([...start.banks, ...f.banks]),
    }));
  });
  const [wrong] = found.length === 0 ? [...quiet.list, ...absent.list] : quiet.list;
  const { bag } = where.env.ctx;
  if (wrong !== undefined) bag.add(bag.hasErrors ? wrong : { ...wrong, notes: [...wrong.notes, ...notes] });
  return found;
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
