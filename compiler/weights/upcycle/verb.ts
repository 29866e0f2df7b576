/** What the verbs of upcyclings share: their type, how they read their arguments, how they refuse. */
import type { CallExpr, Expr } from "../../../grammar/ast.ts";
import { evaluate, report } from "../../language/interpret/context.ts";
import { type ArrayValue, type Demand, findAxis, type Tree } from "./array.ts";
import { constantOf, type UpcycleScope } from "./source.ts";

/** Evaluates an expression in a scope; null after reporting. */
export type EvaluateTree = (expr: Expr, where: UpcycleScope) => Tree | null;

export type Verb = (call: CallExpr, where: UpcycleScope, inner: EvaluateTree) => Tree | null;

export type Along = (tree: Tree, axis: number, demand: Demand, partial: boolean) => ArrayValue | null;

/** A verb along an axis of what it works on, its first argument of at least `count`; parameters without the axis pass unchanged. */
export function withAxis(
  call: CallExpr,
  where: UpcycleScope,
  inner: EvaluateTree,
  count: number,
  along: Along,
): Tree | null {
  const name = axisName(call);
  const positional = positionalOf(call);
  const [arg] = positional;
  if (name === null || arg === undefined || positional.length < count)
    return refuse(call, where, "this verb takes an axis in brackets and then what it works on");
  const tree = inner(arg, where);
  if (tree === null) return null;
  return (demand, partial) => {
    const axis = findAxis(demand, name);
    return axis < 0 ? tree(demand, partial) : along(tree, axis, demand, partial);
  };
}

export function positionalOf(call: CallExpr): readonly Expr[] {
  return call.args.flatMap((a) => (a.name === null ? [a.value] : []));
}

export function namedOf(call: CallExpr, name: string): Expr | undefined {
  return call.args.find((a) => a.name?.text === name)?.value;
}

/** `F` of `shard[F -> G]` and of `repeat[F]`. */
export function axisName({ callee }: CallExpr): string | null {
  const item = callee.kind === "bracket" ? callee.items[0] : undefined;
  const from = item?.kind === "arrow" ? item.from : item;
  return from?.kind === "name" ? from.name.text : null;
}

export function arrowTo({ callee }: CallExpr): Expr | undefined {
  const item = callee.kind === "bracket" ? callee.items[0] : undefined;
  return item?.kind === "arrow" ? item.to : undefined;
}

export function wholeOf(call: CallExpr, where: UpcycleScope, expr: Expr | undefined): number | null {
  const value = expr === undefined ? null : constantOf(expr, where);
  if (value !== null && Number.isInteger(value)) return value;
  return refuse(call, where, "a whole number that is known beforehand is missing here");
}

export function numberOf(call: CallExpr, where: UpcycleScope, name: string, otherwise: number): number {
  const given = namedOf(call, name);
  if (given === undefined) return otherwise;
  const value = constantOf(given, where);
  if (value !== null) return value;
  refuse(call, where, `\`${name}\` is a number`);
  return otherwise;
}

/** A number from 0 to 1. */
export function shareOf(call: CallExpr, where: UpcycleScope, name: string, otherwise: number): number | null {
  const value = numberOf(call, where, name, otherwise);
  return value >= 0 && value <= 1 ? value : refuse(call, where, `a ${name} of ${value} is not between 0 and 1`);
}

export function boolOf(call: CallExpr, where: UpcycleScope, name: string, otherwise: boolean): boolean {
  const given = namedOf(call, name);
  if (given === undefined) return otherwise;
  const value = evaluate(where.env, given);
  if (value.kind === "bool") return value.value;
  refuse(call, where, `\`${name}\` is true or false`);
  return otherwise;
}

/** A list of numbers; null after reporting. */
export function numbersOf(call: CallExpr, where: UpcycleScope, expr: Expr, count: number): readonly number[] | null {
  const value = evaluate(where.env, expr);
  if (value.kind === "error") return null;
  const items = value.kind === "list" ? value.items : [];
  const numbers = items.map((v) => (v.kind === "number" ? v.value : v.kind === "axis" ? v.size.value : null));
  if (numbers.length === count && !numbers.includes(null)) return numbers as number[];
  return refuse(call, where, `a list of ${count} numbers is needed here`, "write them in brackets: `[0.5, 0.3, 0.2]`");
}

export function refuse(call: CallExpr, { env }: UpcycleScope, message: string, help?: string): null {
  report(
    env,
    "upcycle/bad-value",
    message,
    call.span,
    "here",
    help ?? "see the verbs of upcyclings in the language reference",
  );
  return null;
}
