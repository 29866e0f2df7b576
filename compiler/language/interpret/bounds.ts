/**
 * What a declaration may ask for: sizes of axes, lengths of lists, numbers of layers, work. Each bound is a row of `LIMITS`; a message
 * says the number that was asked for and where it came from. Work is counted, so that nothing in a file makes the reader run on and on.
 */
import type { Label } from "../../../grammar/diagnostic.ts";
import { MoeError } from "../../../grammar/diagnostic.ts";
import { LIMITS } from "../../../grammar/limits.ts";
import { textOf, type Span } from "../../../grammar/span.ts";
import type { Axis } from "../../graph/type.ts";
import { TIME } from "../../graph/type.ts";
import type { Context, Env } from "./context.ts";
import { report } from "./context.ts";
import type { Value } from "./value.ts";

/** Goes into an expression; whoever does, comes out again by `meter.depth--`. Throws `type/endless`. */
export function enter(ctx: Context, span: Span): void {
  spend(ctx, span);
  if (++ctx.meter.depth > LIMITS.expansion)
    throw endless(`functions and layers are expanded inside of each other more than ${LIMITS.expansion} deep`, span);
}

/** Counts work; throws `type/endless` when a declaration takes more than any that ends soon. */
export function spend(ctx: Context, span: Span, steps = 1): void {
  ctx.meter.steps += steps;
  if (ctx.meter.steps > LIMITS.steps)
    throw endless(`reading this declaration takes more than ${LIMITS.steps} steps`, span);
}

/** Reading a declaration would not end; neither would what refers to it. */
export class Endless extends MoeError {}

function endless(message: string, span: Span): Endless {
  return new Endless({
    code: "type/endless",
    severity: "error",
    message,
    labels: [{ span, text: "one step too many" }],
    notes: [],
    help: "ask for fewer layers or shorter lists, and let functions call each other less often",
  });
}

/** True for an axis that can be: of one element at least, of no more than kernels count. Sizes that are not known yet can be. */
export function isPossible(env: Env, axis: Axis, of: string, span: Span): boolean {
  const { value } = axis.size;
  if (value === null || (Number.isInteger(value) && value >= 1 && value <= LIMITS.axis)) return true;
  const at = axis.origin ?? span;
  const more: Label[] = at === span ? [] : [{ span, text: `an axis of ${of}` }];
  const from = `${axis.size.key} comes from here`;
  const tooLarge = value > LIMITS.axis;
  report(
    env,
    tooLarge ? "shape/too-large" : "shape/not-positive",
    `axis \`${axis.name}\` of ${of} would be ${axis.size.key}${tooLarge ? `, and an axis has at most ${LIMITS.axis} elements` : ""}`,
    at,
    from,
    tooLarge ? "choose a smaller size" : "sizes are whole numbers from 1",
    more,
  );
  return false;
}

/** True when all these axes can be, and one tensor can hold as many elements. */
export function areStorable(env: Env, axes: readonly Axis[], of: string, span: Span): boolean {
  if (!axes.every((axis) => isPossible(env, axis, of, span))) return false;
  const timely = axes.find((axis) => axis.size.dependsOn(TIME));
  if (timely !== undefined) {
    report(
      env,
      "shape/not-fixed",
      `axis \`${timely.name}\` of ${of} is as long as a sequence, and what is stored has one size`,
      span,
      "an axis of this",
      "give it a size of the model, such as a parameter `M` of the layer",
    );
    return false;
  }
  const elements = axes.reduce((n, axis) => n * (axis.size.value ?? 1), 1);
  if (elements <= LIMITS.elements) return true;
  report(
    env,
    "shape/too-large",
    `${of} would have ${elements} elements, and at most ${LIMITS.elements} are stored as one parameter`,
    span,
    `[${axes.map((axis) => `${axis.name}=${axis.size.key}`).join(", ")}]`,
    "choose smaller sizes, or cut it into several parameters",
    axes.flatMap((axis) =>
      axis.origin === null || axis.origin === span
        ? []
        : [{ span: axis.origin, text: `${axis.size.key} comes from here` }],
    ),
  );
  return false;
}

/** A number that arithmetic can go on with; reports what is none, is infinite, or is a whole number that float64 does not hold exactly. */
export function finite(env: Env, value: Value, span: Span): Value {
  const known =
    value.kind === "number" && value.open !== true ? value.value : value.kind === "axis" ? value.size.value : null;
  if (known === null) return value;
  if (!Number.isFinite(known))
    return report(
      env,
      "type/not-finite",
      `\`${shorten(textOf(span))}\` is ${Number.isNaN(known) ? "no number" : "infinite"}`,
      span,
      "computed here",
      "use a large finite number, and keep arguments where the function has a value",
    );
  const counts = value.kind === "axis" || (value.kind === "number" && !value.float);
  if (!counts || Math.abs(known) <= LIMITS.exact) return value;
  return report(
    env,
    "type/inexact",
    `\`${shorten(textOf(span))}\` is more than a whole number can be here`,
    span,
    `whole numbers are exact up to ${LIMITS.exact}`,
    "choose a smaller number; one that counts nothing is written with a point, such as `1.0e20`",
  );
}

const shorten = (text: string): string => (text.length > 40 ? `${text.slice(0, 40)}...` : text);
