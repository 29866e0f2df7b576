/**
 * Right-hand sides of upcycling rules. A value is, for every run of the target place, a recipe: paths into sources give
 * copies, `mean` and arithmetic give linear combinations, initialisers fresh values. Subtrees correspond by path.
 */
import type { CallExpr, Expr } from "../../grammar/ast.ts";
import { walk } from "../../grammar/index.ts";
import type { Env } from "../interpret/context.ts";
import { report } from "../interpret/context.ts";
import { evaluate } from "../interpret/context.ts";
import { resolvePath } from "../map/path.ts";
import type { Model } from "../model/model.ts";
import type { Recipe, Term } from "./recipe.ts";
import { runsOf, type Run } from "./runs.ts";

export interface UpcycleScope {
  readonly env: Env;
  readonly sources: readonly Model[];
  /** Source numbers by the name of the source parameter. */
  readonly sourceIndex: ReadonlyMap<string, readonly number[]>;
  readonly indices?: ReadonlyMap<string, number>;
}

export type Runs = readonly Run[];

/** A recipe per run; with `partial`, runs that the value does not have are left out (the default rule). */
export function evaluateRecipe(
  expr: Expr,
  where: UpcycleScope,
  runs: Runs,
  partial: boolean,
): readonly { path: string; start: number; length: number; recipe: Recipe }[] {
  const value = evaluateTree(expr, where);
  if (value === null) return [];
  return runs.flatMap((run) => {
    const length = run.sizes.reduce((a, b) => a * b, 1);
    const recipe = value(run, partial);
    return recipe === null ? [] : [{ path: run.path, start: run.start, length, recipe }];
  });
}

/** What a subtree gives to one run of the target; null after reporting, or silently where `partial` allows it. */
type Tree = (run: Run, partial: boolean) => Recipe | null;

function evaluateTree(expr: Expr, where: UpcycleScope): Tree | null {
  const { env } = where;
  if (expr.kind === "call" && calleeName(expr) === "mean") return meanTree(expr, where);
  if (expr.kind === "binary" && (expr.op === "+" || expr.op === "-" || expr.op === "*" || expr.op === "/"))
    return combine(expr, where);
  if (isSource(expr, where)) {
    const source = sourcePath(expr, where);
    return source === null ? null : sourceTree(expr, source, where);
  }
  const value = evaluate(env, expr);
  if (value.kind === "init") return () => ({ kind: "init", init: value.init });
  if (value.kind !== "error")
    report(
      env,
      "upcycle/bad-value",
      "a rule's right side is made of sources and initialisers",
      expr.span,
      "neither",
      "write a path such as `src[n].blocks[l].mlp`, `mean[M](src)`, or `normal(std: 0.02, seed: 1)`",
    );
  return null;
}

function calleeName(expr: CallExpr): string | null {
  const head = expr.callee.kind === "bracket" ? expr.callee.object : expr.callee;
  return head.kind === "name" ? head.name.text : null;
}

/** `mean[M](src)` or `mean[M](src.blocks[l].attn)`: over all models of a source list. */
function meanTree(expr: CallExpr, where: UpcycleScope): Tree | null {
  const [arg] = expr.args;
  const name = arg === undefined ? null : rootName(arg.value);
  const models = name === null ? undefined : where.sourceIndex.get(name);
  if (arg === undefined || models === undefined || models.length === 0) {
    report(
      where.env,
      "upcycle/bad-value",
      "`mean` averages over the models of a source list",
      expr.span,
      "not a source list",
      "write `mean[M](src)`",
    );
    return null;
  }
  const trees = models.map((_, i) => {
    const source = sourcePath(arg.value, where, i);
    return source === null ? null : sourceTree(arg.value, source, where);
  });
  if (trees.includes(null)) return null;
  return (run, partial) => {
    const recipes = trees.map((tree) => tree!(run, partial));
    if (recipes.includes(null)) return null;
    return { kind: "linear", terms: recipes.flatMap((r) => scale(r!, 1 / models.length)) };
  };
}

function combine(expr: Extract<Expr, { kind: "binary" }>, where: UpcycleScope): Tree | null {
  const [x, y] = [constantOf(expr.left, where), constantOf(expr.right, where)];
  if (expr.op === "*" || expr.op === "/") {
    const factor = expr.op === "*" ? (x ?? y) : y === null ? null : 1 / y;
    const tree = factor === null ? null : evaluateTree(x !== null && expr.op === "*" ? expr.right : expr.left, where);
    if (factor === null)
      report(
        where.env,
        "upcycle/bad-value",
        "sources are scaled by numbers known beforehand",
        expr.span,
        "not a number times a source",
        "write `0.5 * src`",
      );
    if (tree === null || factor === null) return null;
    return (run, partial) => {
      const recipe = tree(run, partial);
      return recipe === null ? null : { kind: "linear", terms: scale(recipe, factor) };
    };
  }
  const [a, b] = [evaluateTree(expr.left, where), evaluateTree(expr.right, where)];
  if (a === null || b === null) return null;
  return (run, partial) => {
    const [left, right] = [a(run, partial), b(run, partial)];
    if (left === null || right === null) return null;
    return { kind: "linear", terms: [...scale(left, 1), ...scale(right, expr.op === "-" ? -1 : 1)] };
  };
}

function constantOf(expr: Expr, where: UpcycleScope): number | null {
  let mentionsSource = false;
  walk(expr, (node) => {
    if (node.kind === "name" && "name" in node && where.sourceIndex.has(node.name.text)) mentionsSource = true;
  });
  if (mentionsSource) return null;
  const value = evaluate(where.env, expr);
  return value.kind === "number" ? value.value : value.kind === "axis" ? value.size.value : null;
}

function scale(recipe: Recipe, factor: number): readonly Term[] {
  return recipe.kind === "linear" ? recipe.terms.map((t) => ({ ...t, weight: t.weight * factor })) : [];
}

interface SourcePath {
  readonly model: number;
  /** The path inside the model; null for the whole model. */
  readonly path: Expr | null;
}

function rootName(expr: Expr): string | null {
  switch (expr.kind) {
    case "name":
      return expr.name.text;
    case "member":
      return rootName(expr.object);
    case "bracket":
      return rootName(expr.object);
    default:
      return null;
  }
}

function isSource(expr: Expr, where: UpcycleScope): boolean {
  const root = rootName(expr);
  return root !== null && where.sourceIndex.has(root);
}

/** `src[n].blocks[l].mlp` as a model and a path in it; null after reporting, or when it is not rooted at a source. */
function sourcePath(expr: Expr, where: UpcycleScope, model?: number): SourcePath | null {
  const root = rootName(expr);
  const models = root === null ? undefined : where.sourceIndex.get(root);
  if (models === undefined) return null;
  const split = splitRoot(expr);
  let chosen = model ?? 0;
  if (split.index !== null) {
    const value = split.index.kind === "name" ? where.indices?.get(split.index.name.text) : undefined;
    const number = value ?? constantOf(split.index, where);
    if (number === null || models[number] === undefined) {
      report(
        where.env,
        "upcycle/source-index",
        `\`${root}\` has ${models.length} models`,
        split.index.span,
        number === null ? "this is not one of their numbers" : `there is no ${number}`,
        "index it with a variable of the left side that runs over as many",
      );
      return null;
    }
    chosen = number;
  } else if (models.length > 1 && model === undefined) {
    report(
      where.env,
      "upcycle/source-index",
      `\`${root}\` is a list of ${models.length} models`,
      expr.span,
      "which one?",
      `write \`${root}[n]\`, or \`mean[M](${root})\``,
    );
    return null;
  }
  return { model: models[chosen]!, path: split.path };
}

/** Takes the root and its index off a path: `src[n].a.b` is index n and path `a.b`. */
function splitRoot(expr: Expr): { index: Expr | null; path: Expr | null } {
  switch (expr.kind) {
    case "name":
      return { index: null, path: null };
    case "bracket": {
      if (expr.object.kind === "name") return { index: expr.items[0] ?? null, path: null };
      const inner = splitRoot(expr.object);
      return { index: inner.index, path: inner.path === null ? null : { ...expr, object: inner.path } };
    }
    case "member": {
      const inner = splitRoot(expr.object);
      return {
        index: inner.index,
        path:
          inner.path === null
            ? { kind: "name", name: expr.name, span: expr.name.span }
            : { ...expr, object: inner.path },
      };
    }
    default:
      return { index: null, path: null };
  }
}

function sourceTree(expr: Expr, source: SourcePath, where: UpcycleScope): Tree | null {
  const model = where.sources[source.model]!;
  const start = { indices: where.indices ?? new Map<string, number>(), layers: new Map<string, number>() };
  const found =
    source.path === null
      ? [
          {
            kind: "layer" as const,
            instance: model.instance,
            path: "",
            indices: new Map(),
            banks: new Map(),
            layers: new Map(),
          },
        ]
      : resolvePath(where.env, model.instance, source.path, start);
  const [place] = found;
  if (place === undefined || found.length > 1) {
    if (place !== undefined)
      report(
        where.env,
        "upcycle/source-index",
        "this names several parameters at once",
        expr.span,
        "an index is not bound on the left side",
        "use the index variables of the left side",
      );
    return null;
  }
  const byRelative = new Map(runsOf(place).map((r) => [r.relative, r]));
  return (run, partial) => {
    const from = byRelative.get(run.relative);
    if (from === undefined) {
      if (!partial)
        report(
          where.env,
          "upcycle/no-counterpart",
          `the source has no \`${run.relative}\``,
          expr.span,
          `needed for \`${run.path}\``,
          `it has ${[...byRelative.keys()].slice(0, 6).join(", ")}`,
        );
      return null;
    }
    if (String(from.sizes) !== String(run.sizes)) {
      report(
        where.env,
        "upcycle/shape",
        `\`${run.path}\` is [${run.sizes.join(", ")}], and \`${from.path}\` of the source is [${from.sizes.join(", ")}]`,
        expr.span,
        "from here",
        "name a source of the same shape, or start the parameter fresh",
      );
      return null;
    }
    return { kind: "linear", terms: [{ weight: 1, source: source.model, path: from.path, start: from.start }] };
  };
}
