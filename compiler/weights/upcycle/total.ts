/**
 * Totality, both ways: every element of the target is given once, every element of a source is used or ignored by name.
 * What an assignment reads of a parameter is taken as the range from its first to its last element.
 */
import type { Expr, UpcycleDecl } from "../../../grammar/ast.ts";
import { DiagnosticBag } from "../../../grammar/diagnostic.ts";
import type { Span } from "../../../grammar/span.ts";
import { withVariables } from "../../graph/path.ts";
import { type Extent, tile } from "../map/tile.ts";
import type { Model } from "../../language/model/model.ts";
import { ANY } from "./bind.ts";
import { type Assignment, sourcesOf } from "./recipe.ts";
import { runsOf } from "./runs.ts";
import { resolveSource, rootName, sourcePath, type UpcycleScope } from "./source.ts";
import { extentOf } from "./view.ts";

const countOf = (axes: readonly { readonly size: number }[]): number => axes.reduce((n, a) => n * a.size, 1);

export function checkTarget(
  decl: UpcycleDecl,
  target: Model,
  assignments: readonly Assignment[],
  bag: DiagnosticBag,
): void {
  const covered = Map.groupBy(assignments, (a) => a.path);
  const missing: string[] = [];
  for (const parameter of target.parameters) {
    const runs = covered.get(parameter.path) ?? [];
    const extents = runs.map(({ start, length, rule }) => ({ start, end: start + length, rule }));
    const tiling = tile(extents, countOf(parameter.axes));
    if (tiling.kind === "twice") {
      const [first, again] = tiling.runs;
      bag.error(
        "upcycle/overlap",
        `\`${parameter.path}\` is given twice`,
        [
          { span: again.rule, text: "here" },
          { span: first.rule, text: "and here" },
        ],
        "let one rule name all of it, or each its own experts",
      );
      return;
    }
    if (tiling.kind === "missing") missing.push(parameter.path);
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
      `add a rule such as \`${withVariables(first)} = normal(std: 0.02, seed: 1)\``,
    );
  }
}

/** What an `ignore` leaves out: elements of sources that no rule uses. */
export interface LeftOut {
  readonly rule: Span;
  readonly parameters: number;
}

/** Reports what is neither used nor ignored; gives what is ignored. */
export function checkSources(
  decl: UpcycleDecl,
  where: UpcycleScope,
  assignments: readonly Assignment[],
): readonly LeftOut[] {
  const { sources, sourceIndex } = where;
  const used = sources.map(() => new Map<string, Extent[]>());
  const note = (source: number, path: string, start: number, end: number): void => {
    const ranges = used[source]!.get(path) ?? [];
    ranges.push({ start, end });
    used[source]!.set(path, ranges);
  };
  for (const { source, path, view } of assignments.flatMap((a) => sourcesOf(a.terms)))
    note(source, path, ...extentOf(view));
  const leftOut: LeftOut[] = [];
  for (const rule of decl.rules) {
    if (rule.kind !== "ignore") continue;
    let parameters = 0;
    for (const { source, path, start, end } of ignoredBy(rule.path, decl, where)) {
      parameters += gaps(used[source]!.get(path) ?? [], start, end);
      note(source, path, start, end);
    }
    if (parameters > 0) leftOut.push({ rule: rule.path.span, parameters });
  }
  for (const [name, models] of sourceIndex) {
    for (const [i, model] of models.entries()) {
      const unused = sources[model]!.parameters.filter((p) => !covers(used[model]!.get(p.path) ?? [], countOf(p.axes)));
      const [first] = unused;
      if (first === undefined) continue;
      const param = decl.params.find((p) => p.name.text === name)!;
      const listed = param.source!.count !== null;
      const general = withVariables(first.path);
      where.env.ctx.bag.error(
        "upcycle/unused-source",
        `no rule uses ${used[model]!.has(first.path) ? "all of " : ""}\`${first.path}\` of \`${listed ? `${name}[${i}]` : name}\`${unused.length > 1 ? ` (and ${unused.length - 1} more)` : ""}`,
        [
          { span: decl.name.span, text: "in this upcycling" },
          { span: param.span, text: "this source" },
        ],
        `use it, say that it is left out with \`ignore ${name}.${general}\`, or make a model that has it`,
      );
      return leftOut;
    }
  }
  return leftOut;
}

interface Ignored extends Extent {
  readonly source: number;
  readonly path: string;
}

/**
 * `ignore src.blocks[l].ffn.pick`, `ignore extra`; of all models of a list unless one is named. Where a source may be of any family,
 * what it does not have is as good as ignored.
 */
function ignoredBy(path: Expr, decl: UpcycleDecl, where: UpcycleScope): readonly Ignored[] {
  const name = rootName(path) ?? "";
  const isOpen = decl.params.some((p) => p.name.text === name && p.source?.model.text === ANY);
  const models = where.sourceIndex.get(name);
  const { bag } = where.env.ctx;
  if (models === undefined) {
    const help = `the sources are ${[...where.sourceIndex.keys()].join(", ")}`;
    bag.error("name/unknown", `there is no source \`${name}\``, [{ span: path.span, text: "not declared" }], help);
    return [];
  }
  const [quiet, absent] = [new DiagnosticBag(), new DiagnosticBag()];
  const ranges = models.flatMap((_, i) => {
    const env = { ...where.env, ctx: { ...where.env.ctx, bag: quiet } };
    const scope = { ...where, env, absent, each: new Map([[name, i]]) };
    const source = sourcePath(path, scope);
    const runs = source === null ? [] : resolveSource(source, scope).flatMap(runsOf);
    return runs.map(({ path: parameter, start, sizes }) => {
      const length = sizes.reduce((a, b) => a * b, 1);
      return { source: source!.model, path: parameter, start, end: start + length };
    });
  });
  const [wrong] = isOpen ? quiet.list : [...quiet.list, ...absent.list];
  if (ranges.length === 0 && wrong !== undefined) bag.add(wrong);
  return ranges;
}

const covers = (ranges: readonly Extent[], count: number): boolean => gaps(ranges, 0, count) === 0;

/** How many of the elements `start ..< end` are in none of the ranges. */
function gaps(ranges: readonly Extent[], start: number, end: number): number {
  let [at, missing] = [start, 0];
  for (const range of ranges.toSorted((a, b) => a.start - b.start)) {
    missing += Math.max(0, Math.min(range.start, end) - at);
    at = Math.max(at, range.end);
  }
  return missing + Math.max(0, end - at);
}
