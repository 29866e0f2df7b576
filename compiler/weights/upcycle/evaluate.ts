/**
 * Right-hand sides of upcycling rules: sources, fresh values, sums and multiples of these, `if` over what is known, and the
 * verbs of `verbs.ts`. Every run of the left side becomes a sum of terms.
 */
import type { BinaryExpr, Expr } from "../../../grammar/ast.ts";
import { DiagnosticBag } from "../../../grammar/diagnostic.ts";
import { walk } from "../../../grammar/index.ts";
import { evaluate, report } from "../../language/interpret/context.ts";
import type { Init } from "../../language/interpret/value.ts";
import { addArrays, type Demand, finishTerms, freshArray, scaleArray, type Tree } from "./array.ts";
import type { Assignment } from "./recipe.ts";
import type { Run } from "./runs.ts";
import { constantOf, isSource, resolveCondition, rootName, sourceTree, type UpcycleScope } from "./source.ts";
import { findVerb } from "./verbs.ts";

/** What a rule gives to runs; with `partial`, runs that the value does not have are left out (the default rule). */
export function evaluateRule(
  expr: Expr,
  where: UpcycleScope,
  runs: readonly Run[],
  partial: boolean,
): readonly Omit<Assignment, "rule">[] {
  const tree = evaluateTree(expr, where);
  if (tree === null) return [];
  return runs.flatMap((run) => {
    const { path, relative, start, sizes } = run;
    const length = sizes.reduce((a, b) => a * b, 1);
    const root = relative === "" ? path : path.slice(0, -relative.length - 1);
    const axes = sizes.map((size, i) => ({ name: run.names[i]!, size }));
    const value = tree({ relative, path, root, ordinal: start / length, axes }, partial);
    return value === null ? [] : [{ path, start, length, offset: 0, terms: finishTerms(value.terms) }];
  });
}

function evaluateTree(expr: Expr, where: UpcycleScope): Tree | null {
  const { env } = where;
  const verb = expr.kind === "call" ? findVerb(expr) : null;
  if (verb !== null) return verb(expr as Extract<Expr, { kind: "call" }>, where, evaluateTree);
  if (expr.kind === "binary" && (expr.op === "+" || expr.op === "-")) return addTrees(expr, where);
  if (expr.kind === "binary" && (expr.op === "*" || expr.op === "/")) return scaleTree(expr, where);
  if (expr.kind === "binary" && expr.op === "??") return firstThere(expr, where);
  if (expr.kind === "unary" && expr.op === "-") return mapTree(evaluateTree(expr.value, where), -1);
  if (expr.kind === "if" && (isSource(expr.condition, where) || rootName(expr.condition) === SELF))
    return evaluateTree(isThere(expr.condition, where) ? expr.then : expr.else, where);
  if (expr.kind === "if") {
    const condition = evaluate(env, expr.condition);
    if (condition.kind === "bool") return evaluateTree(condition.value ? expr.then : expr.else, where);
  }
  if (isSource(expr, where)) return sourceTree(expr, where);
  const value = evaluate(env, expr);
  if (value.kind === "init") return freshTree(value.init, expr, where);
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

function freshTree(init: Init, expr: Expr, where: UpcycleScope): Tree {
  return (demand: Demand) => {
    const sizes = demand.axes.map((a) => a.size);
    if (sizes.includes(null)) {
      report(
        where.env,
        "upcycle/bad-value",
        "fresh values take what is left, so they stand last",
        expr.span,
        "how many are these?",
        "change the order, or give a source first",
      );
      return null;
    }
    return freshArray(demand, sizes as number[], init);
  };
}

function addTrees(expr: BinaryExpr, where: UpcycleScope): Tree | null {
  const [a, b] = [evaluateTree(expr.left, where), evaluateTree(expr.right, where)];
  if (a === null || b === null) return null;
  return (demand, partial) => {
    const left = a(demand, partial);
    // What a size was left open to is known then.
    const fixed =
      left === null ? demand : { ...demand, axes: demand.axes.map((x, i) => ({ ...x, size: left.sizes[i]! })) };
    const right = b(fixed, partial);
    return left === null || right === null ? null : addArrays(left, right, expr.op === "-" ? -1 : 1);
  };
}

function scaleTree(expr: BinaryExpr, where: UpcycleScope): Tree | null {
  const [x, y] = [numberIn(expr.left, where), numberIn(expr.right, where)];
  const factor = expr.op === "*" ? (x ?? y) : y === null ? null : 1 / y;
  if (factor === null) {
    report(
      where.env,
      "upcycle/bad-value",
      "sources are scaled by numbers known beforehand",
      expr.span,
      "not a number times a source",
      "write `0.5 * src`",
    );
    return null;
  }
  return mapTree(evaluateTree(x !== null && expr.op === "*" ? expr.right : expr.left, where), factor);
}

function mapTree(tree: Tree | null, factor: number): Tree | null {
  if (tree === null) return null;
  return (demand, partial) => {
    const value = tree(demand, partial);
    return value === null ? null : scaleArray(value, factor);
  };
}

/** A number that is known beforehand; null for anything with a source or a verb in it. */
function numberIn(expr: Expr, where: UpcycleScope): number | null {
  let verbs = 0;
  walk(expr, (node) => void (node.kind === "call" && findVerb(node) !== null && verbs++));
  return verbs > 0 ? null : constantOf(expr, where);
}

/** What the target is called in conditions, as in `ensures`. */
const SELF = "self";

/** Whether a source or the target has something at a path; what is wrong with the path itself is told. */
function isThere(path: Expr, where: UpcycleScope): boolean {
  return resolveCondition(path, { ...where, absent: new DiagnosticBag() }).length > 0;
}

/** `a ?? b`: b where the source has nothing at a. */
function firstThere(expr: BinaryExpr, where: UpcycleScope): Tree | null {
  const [bag, absent] = [new DiagnosticBag(), new DiagnosticBag()];
  const ctx = { ...where.env.ctx, bag };
  const left = evaluateTree(expr.left, { ...where, absent, env: { ...where.env, ctx } });
  if (bag.list.length === 0 && left === null) return evaluateTree(expr.right, where);
  const isWrong = bag.hasErrors || absent.hasErrors;
  if (isWrong) for (const d of bag.list) where.env.ctx.bag.add(d);
  // What is asked of it later is told where the rule stands.
  return isWrong ? null : evaluateTree(expr.left, where);
}
