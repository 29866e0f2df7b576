/**
 * What a recipe's text means, a second time and in plain loops: whole arrays of float64, copied at every step, with none of the compiler's
 * views, terms and statistics; only random numbers are the compiler's. What is clustered and what is seen in activations is NaN here:
 * the tests of those two verbs are by hand. A verb without a meaning here is an error.
 */
import type { Upcycling } from "../../compiler/index.ts";
import { drawIndices } from "../../compiler/weights/upcycle/cluster.ts";
import type { CallExpr, Expr, UpcycleRule } from "../../grammar/ast.ts";
import { textOf } from "../../grammar/span.ts";
import {
  count,
  draw,
  join,
  mapEach,
  onArc,
  pick,
  redrawn,
  sum,
  thinned,
  trimmed,
  type Plain,
  type Wanted,
} from "./plain-arrays.ts";
import {
  constantOf,
  hasSource,
  holds,
  isPath,
  membersOf,
  mentions,
  plainValue,
  readSource,
  stepsOf,
  type Constant,
  type Scene,
  type Step,
  type Weights,
} from "./plain-paths.ts";

/** Results that are not worked out here. */
const BY_HAND = new Set(["cluster", "input"]);

/** The target's weights; `more` are rules that are weaker than all others. */
export function plainWeights(
  upcycling: Upcycling,
  weights: readonly Weights[],
  more: readonly UpcycleRule[],
  options: ReadonlyMap<string, Constant>,
): Weights {
  const scene = openScene(upcycling, weights, options);
  const rules = [...listRules(more, [], -1e6), ...listRules(upcycling.decl.rules, [], 0)];
  rules.sort((a, b) => a.strength - b.strength);
  return new Map(
    upcycling.target.parameters.map(({ path, axes }): [string, Float64Array] => {
      const sizes = axes.map((a) => a.size);
      const out = new Float64Array(count(sizes));
      const given = new Uint8Array(out.length);
      for (const rule of rules) {
        for (const { relative, bound, banks } of matches(rule.left, path, sizes)) {
          const own = sizes.slice(banks.length);
          const ordinal = banks.reduce((n, at, i) => n * sizes[i]! + at, 0);
          const constants = new Map([...scene.constants, ...bound]);
          const names = axes.slice(banks.length).map((a) => a.name);
          const wanted = { path, relative, ordinal, names, sizes: own, partial: rule.partial };
          const value = evaluate(rule.right, { ...scene, constants }, wanted);
          if (value === null) continue;
          out.set(value.data, ordinal * count(own));
          given.fill(1, ordinal * count(own), (ordinal + 1) * count(own));
        }
      }
      if (given.includes(0)) throw new Error(`no rule gives ${path}`);
      return [path, out];
    }),
  );
}

function openScene(upcycling: Upcycling, weights: readonly Weights[], options: ReadonlyMap<string, Constant>): Scene {
  const constants = new Map<string, Constant>();
  for (const { args } of upcycling.sources)
    for (const [name, value] of args) if (!constants.has(name)) constants.set(name, plainValue(value));
  const lists = new Map<string, string>();
  const scene = { upcycling, weights, constants, lists, member: new Map() };
  for (const { name, source } of upcycling.decl.params) {
    if (source?.count == null) continue;
    lists.set(source.count.text, name.text);
    constants.set(source.count.text, upcycling.sourceIndex.get(name.text)!.length);
  }
  for (const { name, source, default: initial } of upcycling.decl.params)
    if (source === null) constants.set(name.text, options.get(name.text) ?? (initial && constantOf(initial, scene)));
  return scene;
}

interface Rule {
  readonly left: readonly Step[];
  readonly right: Expr;
  readonly strength: number;
  readonly partial: boolean;
}

/** Every rule with its whole path; a longer path is stronger, a default as strong as what it stands in. */
function listRules(rules: readonly UpcycleRule[], above: readonly Step[], depth: number): Rule[] {
  return rules.flatMap((rule): Rule[] => {
    if (rule.kind === "ignore") return [];
    if (rule.kind === "default") return [{ left: above, right: rule.value, strength: depth, partial: true }];
    const left = [...above, ...stepsOf(rule.path)];
    const strength = depth + 1 + textOf(rule.path.span).split(/[.[]/).length;
    if (rule.kind === "scope") return listRules(rule.rules, left, strength);
    return [{ left, right: rule.value, strength, partial: false }];
  });
}

interface Match {
  readonly relative: string;
  readonly bound: readonly (readonly [string, number])[];
  readonly banks: readonly number[];
}

/** All ways in which a left side means a parameter or what it is below. */
function matches(left: readonly Step[], path: string, sizes: readonly number[]): readonly Match[] {
  const parts = path.split(".");
  if (parts.length < left.length) return [];
  let found: readonly Match[] = [{ relative: parts.slice(left.length).join("."), bound: [], banks: [] }];
  for (const [i, { name, index }] of left.entries()) {
    const [, own, number] = /^(\w+)(?:\[(\d+)\])?$/.exec(parts[i]!)!;
    if (own !== name || (index === null && number !== undefined)) return [];
    if (index === null) continue;
    if (index.kind !== "name" && !(index.kind === "number" && number === String(index.value))) return [];
    const variable = index.kind === "name" ? index.name.text : "";
    found = found.flatMap((m) => {
      const bind = (at: number) => [...m.bound, [variable, at] as const];
      if (number !== undefined) return [{ ...m, bound: bind(Number(number)) }];
      const all = Array.from({ length: sizes[m.banks.length]! }, (_, at) => at);
      return all.map((at) => ({ ...m, bound: bind(at), banks: [...m.banks, at] }));
    });
  }
  return found;
}

/** Null where nothing is there. */
function evaluate(expr: Expr, scene: Scene, wanted: Wanted): Plain | null {
  if (isPath(expr, scene)) return readSource(expr, scene, wanted);
  switch (expr.kind) {
    case "binary":
      return evaluateBinary(expr, scene, wanted);
    case "if":
      return evaluate(holds(expr.condition, scene) ? expr.then : expr.else, scene, wanted);
    case "unary":
      return mapEach([evaluate(expr.value, scene, wanted)], ([x]) => -x!);
    case "name":
      return draw({ kind: expr.name.text as "zeros" | "ones" }, wanted);
    case "call":
      return evaluateCall(expr, scene, wanted);
    default:
      throw new Error(`no plain meaning of ${textOf(expr.span)}`);
  }
}

function evaluateBinary(expr: Extract<Expr, { kind: "binary" }>, scene: Scene, wanted: Wanted): Plain | null {
  const { op, left, right } = expr;
  if (op === "??") return evaluate(left, scene, wanted) ?? evaluate(right, scene, wanted);
  if (op === "+" || op === "-") {
    const a = evaluate(left, scene, wanted);
    const b = a && evaluate(right, scene, { ...wanted, sizes: a.sizes });
    return mapEach([a, b], ([x, y]) => (op === "+" ? x! + y! : x! - y!));
  }
  const [a, b] = [left, right].map((e) => (hasSource(e, scene) ? null : (constantOf(e, scene) as number)));
  const [factor, inner] = a === null ? [op === "*" ? b! : 1 / b!, left] : [a!, right];
  return mapEach([evaluate(inner, scene, wanted)], ([x]) => factor * x!);
}

function evaluateCall(call: CallExpr, scene: Scene, wanted: Wanted): Plain | null {
  const { callee, args } = call;
  const verb = callee.kind === "name" ? callee.name.text : callee.kind === "bracket" ? textOf(callee.object.span) : "";
  const items = callee.kind === "bracket" ? callee.items : [];
  const [first] = items;
  const axisItem = first?.kind === "arrow" ? first.from : first;
  const given = args.filter((a) => a.name === null).map((a) => a.value);
  const named = (name: string): Constant => {
    const arg = args.find((a) => a.name?.text === name);
    return arg === undefined ? null : constantOf(arg.value, scene);
  };
  const numberOf = (expr: Expr): number => constantOf(expr, scene) as number;
  const inner = (sizes = wanted.sizes, more: Partial<Wanted> = {}, i = 0, own = scene): Plain | null =>
    evaluate(given[i]!, own, { ...wanted, sizes, ...more });

  if (mentions(call, "input") || BY_HAND.has(verb)) {
    const shape = verb === "input" || mentions(call, "input") ? null : inner();
    const sizes = shape?.sizes ?? (wanted.sizes as number[]);
    return { sizes, data: new Float64Array(count(sizes)).fill(NaN) };
  }
  if (verb === "normal")
    return draw({ kind: "normal", std: named("std") as number, seed: (named("seed") as number) ?? 0 }, wanted);
  if (["mean", "sum", "elect"].includes(verb)) {
    const scenes = membersOf(axisItem!, given[0]!, scene);
    const arrays = scenes.map((own) => inner(wanted.sizes, {}, 0, own));
    const weights = (named("weights") as number[] | null) ?? arrays.map(() => 1);
    const total = sum(weights);
    return mapEach(arrays, (xs) => {
      const scaled = xs.map((x, i) => weights[i]! * x);
      if (verb !== "elect") return sum(scaled) / (verb === "mean" ? total : 1);
      const sign = sum(scaled) >= 0 ? 1 : -1;
      const agreeing = scaled.map((x) => Math.sign(x) === sign);
      const weight = sum(weights.filter((_, i) => agreeing[i]));
      return sum(scaled.filter((_, i) => agreeing[i])) / (named("normalize") !== false && weight > 0 ? weight : 1);
    });
  }
  if (verb === "dare") {
    const member = [...scene.member.values()].join(" ");
    return thinned(inner(), named("density") as number, (named("seed") as number) ?? 0, wanted, member);
  }
  if (verb === "slerp") return onArc(inner(), inner(wanted.sizes, {}, 1), named("t") as number);
  if (verb === "trim") return trimmed(inner(), named("density") as number);

  const name = axisItem?.kind === "name" ? axisItem.name.text : "";
  const at = wanted.names.findIndex((n) => n.replace(/'+$/, "") === name);
  if (at < 0 && verb !== "concat" && verb !== "stack") return inner();
  if (at < 0) return null;
  const size = wanted.sizes[at] as number;
  const sized = (n: number | null) => wanted.sizes.toSpliced(at, 1, n);
  switch (verb) {
    case "shard": {
      const [parts, index] = [numberOf((first as Extract<Expr, { kind: "arrow" }>).to), numberOf(given[1]!)];
      return pick(inner(sized(size * parts)), at, (i) => index * size + i, size);
    }
    case "slice": {
      const start = numberOf(given[1]!);
      return pick(inner(sized(null)), at, (i) => start + i, size);
    }
    case "pad": {
      const whole = inner(sized(null));
      return pick(whole, at, (i) => (i < whole!.sizes[at]! ? i : null), size ?? whole?.sizes[at]);
    }
    case "repeat": {
      const times = numberOf(given[1]!);
      return pick(inner(sized(size / times)), at, (i) => Math.floor(i / times), size);
    }
    case "permute": {
      const order = constantOf(given[1]!, scene) as number[];
      return pick(inner(sized(null)), at, (i) => order[i]!, size);
    }
    case "shuffle": {
      const order = drawIndices(size, named("seed") as number, given.slice(1).map(numberOf).join(" "));
      return pick(inner(), at, (i) => order[i]!, size);
    }
    case "redraw": {
      const key = given.slice(1).map(numberOf).join(" ");
      return redrawn(inner(), at, named("share") as number, named("seed") as number, key, wanted);
    }
    case "concat": {
      if (items.length > 1) {
        const scenes = membersOf(items[1]!, given[0]!, scene);
        return join(
          scenes.map((own) => inner(sized(size / scenes.length), {}, 0, own)),
          at,
        );
      }
      const parts: (Plain | null)[] = [];
      for (const i of given.keys()) {
        const left = size === null ? null : size - sum(parts.map((p) => p?.sizes[at] ?? 0));
        parts.push(inner(sized(i === given.length - 1 ? left : null), {}, i));
      }
      return join(parts, at);
    }
    case "stack": {
      const without = { names: wanted.names.toSpliced(at, 1) };
      const parts = given.map((_, i) => {
        const ordinal = wanted.ordinal * given.length + i;
        const part = inner(wanted.sizes.toSpliced(at, 1), { ...without, ordinal }, i);
        return part && { ...part, sizes: part.sizes.toSpliced(at, 0, 1) };
      });
      return join(parts, at);
    }
    default:
      throw new Error(`no plain meaning of the verb ${verb}`);
  }
}
