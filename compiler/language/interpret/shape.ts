/**
 * What an optimizer steps: a tensor whose axes are given when the optimizer is made. `for [.., A, B]` names the last of them; `..` stands
 * for the others, in types and in `state[..]`. An optimizer without it takes any shape, element by element.
 */
import type { LayerDecl } from "../../../grammar/ast.ts";
import type { Span } from "../../../grammar/span.ts";
import { Dim } from "../../graph/dim.ts";
import type { Axis } from "../../graph/type.ts";
import { type Env, evaluate, report } from "./context.ts";
import type { AxisValue, ConstructorValue, Value } from "./value.ts";
import { describeValue } from "./value.ts";

/** How the axes of a tensor are called in an optimizer. */
export interface Fitted {
  /** What `..` stands for. */
  readonly rest: readonly Axis[];
  readonly named: ReadonlyMap<string, AxisValue>;
}

/** Null where the shape has fewer axes than the optimizer names, or more where it does not say `..`. */
function fitShape({ shape }: LayerDecl, axes: readonly Axis[]): Fitted | null {
  if (shape === null) return { rest: axes, named: new Map() };
  const names = namesOf(shape.axes);
  const lead = axes.length - names.length;
  if (lead < 0 || (lead > 0 && !shape.axes.some((a) => a.kind === "rest"))) return null;
  const named = names.map((name, i): [string, AxisValue] => {
    const axis = axes[lead + i]!;
    return [name, { kind: "axis", label: axis.name, size: axis.size, origin: axis.origin }];
  });
  return { rest: axes.slice(0, lead), named: new Map(named) };
}

/** The axes that an optimizer is checked with: as many as it names, one for `..`, of any size. */
export function symbolicShape({ shape }: LayerDecl): readonly Axis[] {
  const axes = shape?.axes ?? [{ kind: "rest" as const }];
  const rest = axes.some((a) => a.kind === "rest") ? [ELEMENT] : [];
  return [...rest, ...namesOf(axes).map((name) => ({ name, size: Dim.of(name), origin: null }))];
}

/** Whether it steps every element by itself, whatever the shape. */
export function isElementwise({ shape }: LayerDecl): boolean {
  return shape === null || namesOf(shape.axes).length === 0;
}

/** The axis of what is stepped element by element. */
export const ELEMENT: Axis = { name: "element", size: Dim.of("element"), origin: null };

type AxisSyntax = NonNullable<LayerDecl["shape"]>["axes"][number];

function namesOf(axes: readonly (AxisSyntax | { readonly kind: "rest" })[]): readonly string[] {
  return axes.flatMap((a) => (a.kind === "axis" && a.size.kind === "name" ? [a.size.name.text] : []));
}

/** Whether what follows `for` is read: `..` first, then names, each once. Reports what is none of that. */
function isShapeRead(env: Env, { shape, params, members }: LayerDecl): boolean {
  if (shape === null) return true;
  const taken = new Set([...params, ...members].map((d) => d.name.text));
  for (const [i, axis] of shape.axes.entries()) {
    const name = axis.kind === "axis" && axis.size.kind === "name" ? axis.size.name.text : null;
    const isPlain = axis.kind === "rest" ? i === 0 : name !== null && axis.label?.text === name;
    if (isPlain && (name === null || !taken.has(name))) {
      if (name !== null) taken.add(name);
      continue;
    }
    if (isPlain)
      report(
        env,
        "name/duplicate",
        `\`${name}\` is declared twice`,
        axis.span,
        "declared again here",
        "rename one of them",
      );
    else
      report(
        env,
        "type/not-an-axis",
        "`for` is followed by `..` and names of axes",
        axis.span,
        axis.kind === "rest" ? "`..` stands first" : "not a name",
        "write `for [.., A, B]`",
      );
    return false;
  }
  return true;
}

/**
 * How an optimizer with its parameters takes the tensor that it is for, or the optimizer behind its `else`, which then does. Null after
 * reporting why nobody does.
 */
export function takeShape(env: Env, callee: ConstructorValue, span: Span): Fitted | ConstructorValue | null {
  const { decl, shape: axes } = callee;
  if (axes === undefined) {
    const told = `\`${decl.name.text}\` is an optimizer, which is no part of a layer or model`;
    report(env, "type/not-a-layer", told, span, "made here", "name it where a training is described", [
      { span: decl.name.span, text: "declared here" },
    ]);
    return null;
  }
  if (!isShapeRead(env, decl)) return null;
  const otherwise = decl.shape?.otherwise ?? null;
  const other = otherwise === null ? null : evaluate(env, otherwise);
  const isOther = other === null || isOptimizer(env, other, otherwise!.span);
  const fitted = fitShape(decl, axes);
  if (fitted !== null || !isOther) return isOther ? fitted : null;
  if (other?.kind === "constructor") return { ...other, shape: axes };
  const names = namesOf(decl.shape!.axes).length;
  const many = decl.shape!.axes.some((a) => a.kind === "rest") ? "or more " : "";
  report(
    env,
    "shape/optimizer",
    `\`${decl.name.text}\` is for tensors of ${names} ${many}axes, and this one has [${axes.map((a) => a.name).join(", ")}]`,
    span,
    "chosen here",
    "say behind `else` which optimizer takes the others: `for [.., A, B] else rest`",
    [{ span: decl.shape!.span, text: "declared here" }],
  );
  return null;
}

/** True for an optimizer, and for a parameter that is to be one while its declaration is checked on its own. */
function isOptimizer(env: Env, value: Value, at: Span): boolean {
  if (
    value.kind === "constructor"
      ? value.decl.keyword === "optimizer"
      : value.kind === "abstract" && value.role === "optimizer"
  )
    return true;
  if (value.kind !== "error")
    report(
      env,
      "type/not-an-optimizer",
      `behind \`else\` stands an optimizer, not ${describeValue(value)}`,
      at,
      "not an optimizer",
      "name what is declared with the word `optimizer`",
    );
  return false;
}
