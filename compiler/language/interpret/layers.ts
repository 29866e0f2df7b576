/**
 * Members `blocks[l] = L of Block(...)` that a `for` runs over: the constructor is evaluated for every layer, and layers
 * made with the same arguments share one template, so there is one graph function per distinct layer.
 */
import type { Expr, Member, OfExpr } from "../../../grammar/ast.ts";
import { LIMITS } from "../../../grammar/limits.ts";
import { Dim } from "../../graph/dim.ts";
import { templatePath } from "../../graph/path.ts";
import { TIME } from "../../graph/type.ts";
import { toAxis } from "./axes.ts";
import { areStorable } from "./bounds.ts";
import type { Env } from "./context.ts";
import { evaluate, report } from "./context.ts";
import type { AxisValue, ConstructorValue, Instance, InstanceMember, Value } from "./value.ts";
import { describeValue, sameValue } from "./value.ts";

/** Reports what cannot stand behind `of`. */
export function isLayer(env: Env, value: Value, at: Expr): value is ConstructorValue {
  if (value.kind === "constructor" && value.decl.keyword !== "router") return true;
  if (value.kind !== "error")
    report(
      env,
      "type/not-a-layer",
      `\`of\` is followed by a layer, not ${describeValue(value)}`,
      at.span,
      "not a layer",
      "write `experts = N of SwiGLU(D, F)`",
    );
  return false;
}

/** Reports more layers than a model has, and as many as a sequence has tokens. */
function areCountable(env: Env, count: AxisValue, path: string, layer: Expr): boolean {
  const axis = toAxis(count, "L");
  if (count.size.dependsOn(TIME)) return areStorable(env, [axis], `\`${path}\``, layer.span);
  if ((count.size.value ?? 1) <= LIMITS.layers) return true;
  const { origin } = count;
  report(
    env,
    "shape/too-large",
    `\`${path}\` would have ${count.size.key} layers, and a \`for\` runs over at most ${LIMITS.layers}`,
    origin ?? layer.span,
    `${count.size.key} comes from here`,
    "choose a smaller number of layers",
    origin === null ? [] : [{ span: layer.span, text: "the layers" }],
  );
  return false;
}

/** `instantiate` makes one template. Null after reporting what is wrong. */
export function makeStack(
  env: Env,
  { index }: Member,
  { value }: OfExpr,
  count: AxisValue,
  path: string,
  instantiate: (layer: ConstructorValue, path: string) => Instance | null,
): InstanceMember | null {
  const kinds: { readonly made: ConstructorValue; readonly template: Instance }[] = [];
  const layers: Instance[] = [];
  // A definition on its own may have a symbolic number of layers: one stands for all.
  const total = index === null ? Math.min(1, count.size.value ?? 1) : (count.size.value ?? 1);
  if (!areCountable(env, count, path, value)) return null;
  for (let i = 0; i < total; i++) {
    const size = count.size.value === null ? Dim.of(`${path}.index`) : Dim.of(i);
    const locals = new Map(env.locals);
    if (index !== null) locals.set(index.text, { kind: "axis", label: null, size, origin: index.span });
    const made = evaluate({ ...env, locals }, value);
    if (made.kind === "abstract" && made.role === "layer") return { kind: "value", value: made };
    if (!isLayer(env, made, value)) return null;
    let kind = kinds.find((k) => sameValue(k.made, made));
    if (kind === undefined) {
      const template = instantiate(made, templatePath(path, i));
      if (template === null) return null;
      kind = { made, template };
      kinds.push(kind);
    }
    layers.push(kind.template);
  }
  if (index === null) while (layers.length > 0 && layers.length < (count.size.value ?? 1)) layers.push(layers[0]!);
  return { kind: "stack", count, layers };
}
