/**
 * Sources in the rules of an upcycling: `src[n].blocks[l].mlp` is a model and a place in it, and as a value an array for every
 * parameter below that place.
 */
import type { Expr } from "../../../grammar/ast.ts";
import { type DiagnosticBag, walk } from "../../../grammar/index.ts";
import type { Env } from "../../language/interpret/context.ts";
import { evaluate, report } from "../../language/interpret/context.ts";
import { type Found, resolvePath } from "../map/path.ts";
import type { Model } from "../../language/model/model.ts";
import type { ArrayValue, Demand, Tree } from "./array.ts";
import type { Prompts } from "./observe.ts";
import type { Prompt, Statistic } from "./recipe.ts";
import { type Run, runsOf } from "./runs.ts";
import { contiguousView } from "./view.ts";

export interface UpcycleScope {
  /** Index variables of the left side are numbers among its locals. */
  readonly env: Env;
  readonly sources: readonly Model[];
  readonly target: Model;
  /** Source numbers by the name of the source parameter. */
  readonly sourceIndex: ReadonlyMap<string, readonly number[]>;
  /** Source parameters that are lists, by the name of their count. */
  readonly lists: ReadonlyMap<string, string>;
  readonly indices: ReadonlyMap<string, number>;
  /** The member of each list that a verb has come to. */
  readonly each: ReadonlyMap<string, number>;
  readonly prompts: Prompts;
  /** Told of names that are not there, in place of the bag, where they need not be. */
  readonly absent?: DiagnosticBag;
  /** Equal prompts become one. */
  readonly prompt: (prompt: Prompt) => Prompt;
  /** Equal statistics become one, which is counted once. */
  readonly share: (statistic: Statistic) => Statistic;
}

/** The array of every parameter below a place. */
export function sourceTree(expr: Expr, where: UpcycleScope): Tree | null {
  const source = sourcePath(expr, where);
  const found = source === null ? [] : resolveSource(source, where);
  const [place] = found;
  if (source === null || place === undefined) return null;
  if (found.length > 1) {
    report(
      where.env,
      "upcycle/source-index",
      "this names several parameters at once",
      expr.span,
      "an index is not bound on the left side",
      "use the index variables of the left side, or take the `mean` over it",
    );
    return null;
  }
  const runs = new Map(runsOf(place).map((r) => [r.relative, r]));
  return (demand, partial) => sourceArray(expr, source, runs, demand, partial, where.env);
}

/** The values of the indices that a path leaves open; null after reporting. */
export function findPlaces(expr: Expr, where: UpcycleScope): readonly ReadonlyMap<string, number>[] | null {
  const source = sourcePath(expr, where);
  return source === null ? null : resolveSource(source, where).map((place) => place.indices);
}

export function resolveSource(source: SourcePath, where: UpcycleScope): readonly Found[] {
  return resolveIn(where.sources[source.model]!, source.path, where);
}

/** What a condition names: a path of a source, or of the target, which is `self`. */
export function resolveCondition(expr: Expr, where: UpcycleScope): readonly Found[] {
  if (!isSource(expr, where)) return resolveIn(where.target, splitRoot(expr).path, where);
  const source = sourcePath(expr, where);
  return source === null ? [] : resolveSource(source, where);
}

function resolveIn({ instance }: Model, path: Expr | null, where: UpcycleScope): readonly Found[] {
  const layers = new Map<string, number>();
  return path === null
    ? [{ kind: "layer", instance, path: "", indices: new Map(), banks: new Map(), layers }]
    : resolvePath(where.env, instance, path, { indices: where.indices, layers, absent: where.absent });
}

function sourceArray(
  expr: Expr,
  source: SourcePath,
  place: ReadonlyMap<string, Run>,
  demand: Demand,
  partial: boolean,
  env: Env,
): ArrayValue | null {
  const from = place.get(demand.relative);
  if (from === undefined) {
    if (!partial)
      report(
        env,
        "upcycle/no-counterpart",
        `the source has no \`${demand.relative}\``,
        expr.span,
        `needed for \`${demand.path}\``,
        `it has ${[...place.keys()].slice(0, 6).join(", ")}`,
      );
    return null;
  }
  const { sizes } = from;
  if (sizes.length !== demand.axes.length || demand.axes.some((a, i) => a.size !== null && a.size !== sizes[i])) {
    // The default rule has no counterpart then; a stronger one may have.
    if (partial) return null;
    const wanted = demand.axes.map((a) => a.size ?? a.name).join(", ");
    report(
      env,
      "upcycle/shape",
      `\`${demand.path}\` is [${wanted}], and \`${from.path}\` of the source is [${sizes.join(", ")}]`,
      expr.span,
      "from here",
      "name a source of the same shape, or start the parameter fresh",
    );
    return null;
  }
  const view = contiguousView(from.start, sizes);
  return { sizes, terms: [{ kind: "source", weight: 1, source: source.model, path: from.path, view }] };
}

/** A scope for every model of a list. */
export function eachModel(list: string, where: UpcycleScope): readonly UpcycleScope[] {
  return where.sourceIndex.get(list)!.map((_, i) => ({ ...where, each: new Map([...where.each, [list, i]]) }));
}

/** A number that is known before sources are read; null for anything that names one. */
export function constantOf(expr: Expr, where: UpcycleScope): number | null {
  let mentionsSource = false;
  walk(expr, (node) => {
    if (node.kind === "name" && "name" in node && where.sourceIndex.has(node.name.text)) mentionsSource = true;
  });
  if (mentionsSource) return null;
  const value = evaluate(where.env, expr);
  return value.kind === "number" ? value.value : value.kind === "axis" ? value.size.value : null;
}

export interface SourcePath {
  readonly model: number;
  /** The path inside the model; null for the whole model. */
  readonly path: Expr | null;
}

export function rootName(expr: Expr): string | null {
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

export function isSource(expr: Expr, where: UpcycleScope): boolean {
  const root = rootName(expr);
  return root !== null && where.sourceIndex.has(root);
}

/** `src[n].blocks[l].mlp` as a model and a path in it; null after reporting, or when it is not rooted at a source. */
export function sourcePath(expr: Expr, where: UpcycleScope): SourcePath | null {
  const root = rootName(expr);
  const models = root === null ? undefined : where.sourceIndex.get(root);
  if (models === undefined) return null;
  const split = splitRoot(expr);
  const member = where.each.get(root!);
  let chosen = member ?? 0;
  if (split.index !== null) {
    const number = constantOf(split.index, where);
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
  } else if (models.length > 1 && member === undefined) {
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
