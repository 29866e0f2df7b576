/** What the names of an upcycling mean: its sources, its parameters, and the settings on which the sources agree. */
import type { Expr, LayerDecl, UpcycleDecl } from "../../../grammar/ast.ts";
import { type DiagnosticBag, MoeError } from "../../../grammar/diagnostic.ts";
import { walk } from "../../../grammar/index.ts";
import { textOf } from "../../../grammar/span.ts";
import { type Env, evaluate, staticEnv } from "../../language/interpret/context.ts";
import type { Value } from "../../language/interpret/value.ts";
import { toJson } from "../map/config-value.ts";
import { newContext, type Model } from "../../language/model/model.ts";
import type { Scope } from "../../language/resolve/scope.ts";
import { reportUnknownParameter } from "../../language/resolve/unknown.ts";

export interface Bound {
  readonly env: Env;
  /** Source numbers by the name of the source parameter. */
  readonly sourceIndex: ReadonlyMap<string, readonly number[]>;
}

/** Whether two models are of one family, also where its file was read twice. */
export function isSameFamily(a: LayerDecl, b: LayerDecl): boolean {
  return a.name.text === b.name.text && a.span.file.path === b.span.file.path;
}

/** `model` as the model of a source: any. */
export const ANY = "model";

/** Throws `MoeError` when sources or parameters do not fit, or a `where` does not hold. */
export function bindNames(
  decl: UpcycleDecl,
  scope: Scope,
  sources: readonly Model[],
  options: ReadonlyMap<string, Value>,
  bag: DiagnosticBag,
): Bound {
  const locals = new Map<string, Value>();
  const env = staticEnv(newContext("build", bag), scope, locals);
  const sourceIndex = bindSources(decl, scope, sources, locals, bag);
  bindSettings(sources, locals);
  for (const { name } of decl.params) locals.delete(name.text);
  // As an argument, a source is its model.
  for (const [name, [first]] of sourceIndex) {
    const model = first === undefined ? undefined : sources[first];
    if (model !== undefined) locals.set(name, modelValue(model));
  }
  bindOptions(decl, options, env);
  if (bag.hasErrors) throw new MoeError(bag.list);
  checkConditions(decl, env);
  if (bag.hasErrors) throw new MoeError(bag.list);
  return { env, sourceIndex };
}

function modelValue({ instance: { decl, scope }, args }: Model): Value {
  return { kind: "constructor", decl, scope, bound: args };
}

function bindOptions(decl: UpcycleDecl, options: ReadonlyMap<string, Value>, env: Env): void {
  const { bag } = env.ctx;
  for (const param of decl.params) {
    if (param.source !== null) continue;
    const value = options.get(param.name.text) ?? (param.default === null ? null : evaluate(env, param.default));
    if (value === null)
      bag.error(
        "upcycle/missing-parameter",
        `\`${decl.name.text}\` needs \`${param.name.text}\``,
        [{ span: param.span, text: "declared here" }],
        `give it as --param ${param.name.text}=VALUE`,
      );
    else env.locals.set(param.name.text, value);
  }
  for (const name of options.keys()) {
    if (decl.params.some((p) => p.source === null && p.name.text === name)) continue;
    reportUnknownParameter(bag, decl, name, decl.name.span, "declared here");
  }
}

function checkConditions(decl: UpcycleDecl, env: Env): void {
  const { locals } = env;
  for (const condition of decl.where) {
    const holds = evaluate(env, condition);
    if (holds.kind === "bool" && !holds.value)
      env.ctx.bag.error(
        "upcycle/where",
        `\`${decl.name.text}\` requires \`${textOf(condition.span)}\``,
        [{ span: condition.span, text: "required here" }],
        "change the parameters or the number of sources",
        namesIn(condition).flatMap((n) => (locals.has(n) ? [`${n} = ${JSON.stringify(toJson(locals.get(n)!))}`] : [])),
      );
  }
}

/** Parameters of the sources on which all that have them agree, under their names. */
function bindSettings(sources: readonly Model[], locals: Map<string, Value>): void {
  const given = new Set(locals.keys());
  const differing = new Set<string>();
  for (const [name, value] of sources.flatMap((s) => [...s.args])) {
    if (given.has(name) || differing.has(name)) continue;
    const known = locals.get(name);
    if (known === undefined || JSON.stringify(toJson(known)) === JSON.stringify(toJson(value))) locals.set(name, value);
    else {
      locals.delete(name);
      differing.add(name);
    }
  }
}

function bindSources(
  decl: UpcycleDecl,
  scope: Scope,
  sources: readonly Model[],
  locals: Map<string, Value>,
  bag: DiagnosticBag,
): ReadonlyMap<string, readonly number[]> {
  const index = new Map<string, readonly number[]>();
  const params = decl.params.filter((p) => p.source !== null);
  const single = params.filter((p) => p.source!.count === null).length;
  let next = 0;
  for (const { name, source, span } of params) {
    const { model, count } = source!;
    const length = count === null ? 1 : sources.length - single;
    const mine = Array.from({ length: Math.max(0, length) }, () => next++);
    index.set(name.text, mine);
    if (count !== null) locals.set(count.text, { kind: "number", value: mine.length, float: false });
    const first = sources[mine[0] ?? -1];
    const wanted = model.text === ANY ? first?.instance.decl : scope.lookup(model.text)?.item;
    for (const i of mine) {
      const given = sources[i];
      if (given === undefined || (wanted?.kind === "layer" && isSameFamily(given.instance.decl, wanted))) continue;
      bag.error(
        "upcycle/wrong-source",
        `\`${name.text}\` is a \`${model.text === ANY ? first!.name : model.text}\`, and source ${i + 1} is a \`${given.name}\``,
        [{ span, text: model.text === ANY ? "a list of models of one family" : "declared here" }],
        "give the sources in the order of the declaration",
      );
    }
  }
  if (next !== sources.length || params.length === 0) {
    bag.error(
      "upcycle/source-count",
      `\`${decl.name.text}\` takes ${single === params.length ? single : "one or more"} source${single === 1 && params.length === 1 ? "" : "s"}, not ${sources.length}`,
      [{ span: decl.name.span, text: "declared here" }],
      "give one --from per source, in the order of the declaration",
    );
  }
  return index;
}

/** Names that an expression mentions, once each. */
export function namesIn(expr: Expr): readonly string[] {
  const names = new Set<string>();
  walk(expr, (node) => {
    if (node.kind === "name" && "name" in node) names.add(node.name.text);
  });
  return [...names];
}
