/** The verbs of upcyclings by name: along an axis, over models or experts, by what whole tensors say and by what sources compute. */
import type { CallExpr } from "../../../grammar/ast.ts";
import { AXIS_VERBS } from "./verbs-axis.ts";
import { INPUT_VERBS } from "./verbs-input.ts";
import { VALUE_VERBS } from "./verbs-value.ts";
import type { Verb } from "./verb.ts";

const VERBS: Readonly<Record<string, Verb>> = { ...AXIS_VERBS, ...VALUE_VERBS, ...INPUT_VERBS };

/** The verb that a call names; null for a function. */
export function findVerb({ callee }: CallExpr): Verb | null {
  const head = callee.kind === "bracket" ? callee.object : callee;
  return head.kind === "name" && Object.hasOwn(VERBS, head.name.text) ? VERBS[head.name.text]! : null;
}

export function isVerb(name: string): boolean {
  return Object.hasOwn(VERBS, name);
}
