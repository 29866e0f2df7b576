/**
 * The `config` block of a map, read both ways. Reading gives a model's arguments from a parsed config.json; writing gives
 * the JSON back, every alternative key included, so that old and new releases of other tools find what they look for.
 */
import type { ConfigRule, Expr, LayerDecl, Name } from "../../../grammar/ast.ts";
import { DiagnosticBag, MoeError } from "../../../grammar/diagnostic.ts";
import { LIMITS } from "../../../grammar/limits.ts";
import { textOf, type Span } from "../../../grammar/span.ts";
import { Dim } from "../../graph/dim.ts";
import { sameConstant } from "../../language/interpret/arithmetic.ts";
import type { Env } from "../../language/interpret/context.ts";
import { evaluate, staticEnv } from "../../language/interpret/context.ts";
import type { ConstructorValue, Value } from "../../language/interpret/value.ts";
import { makeModel, newContext } from "../../language/model/model.ts";
import type { MapBinding, Scope } from "../../language/resolve/scope.ts";
import { checkObjects, type ObjectNames, objectsOf } from "./config-objects.ts";
import { asDeclared, isOptional, type Read, readRule } from "./config-rule.ts";
import { at, type ConfigFile, configAt, type Json, put, show, toJson } from "./config-value.ts";
import { requireMap } from "./family.ts";
import { mapOfPart } from "./part.ts";

export type { MapBinding };

/** The model that a map is for, with the arguments that the config gives. */
export function readConfig(map: MapBinding, config: ConfigFile): ConstructorValue {
  const bag = new DiagnosticBag();
  checkObjects(map, config, bag);
  if (bag.hasErrors) throw new MoeError(bag.list);
  return readRules(map, config, objectsOf(map));
}

/** The same with objects under these names, whatever else is in them. */
export function readRules(map: MapBinding, config: ConfigFile, objects: readonly ObjectNames[]): ConstructorValue {
  const target = map.scope.lookup(map.item.model.text);
  if (target?.item.kind !== "layer") throw new Error(`map ${map.item.name.text} is for no model`);
  const decl = target.item;
  const bound = new Map<string, Value>();
  const places = new Map<string, Span>();
  const ctx = newContext();
  const env = staticEnv(ctx, map.scope, bound);
  for (const rule of map.item.config) {
    if (rule.isWritten) continue;
    const { value, span } =
      rule.map !== null
        ? readPart(rule.map, rule.left, config, map.scope, objects)
        : rule.isModel
          ? readModel(rule, config, map.scope)
          : readRule(rule, config, map.scope, bound, objects, isOptional(rule, decl));
    if (rule.left.kind === "name") places.set(rule.left.name.text, span);
    bindLeft(rule, value, span, bound, env, decl);
    checkSize(rule, decl, value, span, ctx.bag);
  }
  if (ctx.bag.hasErrors) throw new MoeError(ctx.bag.list);
  return { kind: "constructor", decl, scope: target.scope, bound, places };
}

/** A layer whose parameters another map's rules give; those at their defaults are left to them. */
function readPart(name: Name, left: Expr, config: ConfigFile, scope: Scope, objects: readonly ObjectNames[]): Read {
  const part = readRules(mapOfPart(name, left, scope), config, objects);
  const env = staticEnv(newContext(), part.scope);
  const usual = part.decl.params.filter(({ name: { text }, default: initial }) => {
    const value = part.bound.get(text);
    return value !== undefined && initial !== null && sameConstant(value, evaluate(env, initial));
  });
  const bound = new Map(part.bound);
  for (const param of usual) bound.delete(param.name.text);
  return { value: { ...part, bound }, span: part.places?.get(part.decl.params[0]!.name.text) ?? name.span };
}

/** A model whose config is the object at a key, by the map of its family. */
function readModel(rule: ConfigRule, config: ConfigFile, scope: Scope): Read {
  const { span } = readRule(rule, config, scope, new Map(), [], false);
  const path = rule.keys[0]!.map((k) => k.text);
  const own = configAt(config, path);
  if (own === null)
    throw new MoeError({
      code: "map/not-an-object",
      severity: "error",
      message: `\`${path.join(".")}\` is not an object but ${JSON.stringify(at(config.json, path))}`,
      labels: [
        { span, text: "must be the config of a model" },
        { span: rule.span, text: "read here" },
      ],
      notes: [],
      help: "correct config.json",
    });
  const callee = readConfig(requireMap(own, scope.maps()), own);
  return { value: { ...callee, bound: makeModel(callee, span).args }, span };
}

/** Of the maps of a model's family the first that keeps all its settings, else the first. Throws when there is none. */
export function mapOfModel(scope: Scope, decl: LayerDecl, args: ReadonlyMap<string, Value>): MapBinding {
  const fitting = scope.maps().filter(({ item, scope: own }) => {
    const model = own.lookup(item.model.text)?.item;
    return model?.span.file.path === decl.span.file.path && item.model.text === decl.name.text;
  });
  const found = fitting.find((map) => keepsSettings(map, args)) ?? fitting[0];
  if (found !== undefined) return found;
  throw new MoeError({
    code: "map/unknown-family",
    severity: "error",
    message: `no map says how \`${decl.name.text}\` is stored`,
    labels: [{ span: decl.name.span, text: "this model" }],
    notes: [],
    help: `write \`map name: ${decl.name.text} { ... }\` beside it`,
  });
}

function keepsSettings(map: MapBinding, args: ReadonlyMap<string, Value>): boolean {
  const json = (value: Value | undefined): string => JSON.stringify(toJson(value ?? { kind: "none" }));
  try {
    const config = { file: map.item.span.file, json: writeConfig(map, args), floats: findFloats(map, args) };
    const read = makeModel(readConfig(map, config), map.item.span).args;
    return [...args].every(([name, value]) => json(value) === json(read.get(name)));
  } catch (error) {
    if (error instanceof MoeError) return false;
    throw error;
  }
}

/** A parameter without a default or a type is a size, and numbers are finite. Told here, where the key is known. */
function checkSize({ left, span }: ConfigRule, decl: LayerDecl, value: Value, key: Span, bag: DiagnosticBag): void {
  const param = left.kind === "name" ? decl.params.find((p) => p.name.text === left.name.text) : undefined;
  const isSize = param !== undefined && param.default === null && param.type === null;
  const number = value.kind === "axis" ? value.size.value : value.kind === "number" ? value.value : null;
  const holds = isSize
    ? value.kind === "axis" && number !== null && number >= 0
    : number === null || Number.isFinite(number);
  if (holds && (value.kind !== "axis" || Math.abs(number ?? 0) <= LIMITS.exact)) return;
  const name = param === undefined ? "this" : `\`${param.name.text}\` of \`${decl.name.text}\``;
  bag.error(
    "type/parameter-kind",
    `${name} is a ${isSize ? "size" : "number"}, not ${Number.isFinite(number ?? 0) ? show(value) : `\`${number}\``}`,
    [
      {
        span: key,
        text: isSize
          ? `must be a whole number${value.kind === "axis" ? ` from 0 to ${LIMITS.exact}` : ""}`
          : "must be finite",
      },
      { span, text: "read here" },
    ],
    "correct config.json",
  );
}

function bindLeft(
  rule: ConfigRule,
  value: Value,
  span: Span,
  bound: Map<string, Value>,
  env: Env,
  decl: LayerDecl,
): void {
  const { left } = rule;
  if (left.kind === "name") {
    const param = decl.params.find((p) => p.name.text === left.name.text);
    bound.set(left.name.text, asDeclared(value, param?.default ?? null));
    return;
  }
  const unknown = namesIn(left).filter((n) => !bound.has(n));
  if (unknown.length === 0) {
    const expected = evaluate(env, left);
    if (JSON.stringify(toJson(expected)) !== JSON.stringify(toJson(value))) {
      env.ctx.bag.error(
        "map/unsupported",
        `this map is for checkpoints with ${show(expected)} here, and this one has ${show(value)}`,
        [
          { span, text: `${show(value)} here` },
          { span: rule.span, text: `${show(expected)} required here` },
        ],
        "use a map that supports it",
      );
    }
    return;
  }
  // One unknown factor of a product: divide by the others.
  const [name] = unknown;
  const rest =
    unknown.length === 1 && isProduct(left)
      ? namesIn(left)
          .filter((n) => n !== name)
          .map((n) => bound.get(n)!)
      : null;
  const factors = rest?.flatMap((v) => (v.kind === "axis" ? [v.size] : []));
  const quotient =
    factors === undefined || factors.length < rest!.length || value.kind !== "axis"
      ? null
      : value.size.over(Dim.product(factors));
  if (name === undefined || quotient?.value == null || !Number.isInteger(quotient.value)) {
    env.ctx.bag.error(
      "map/unsolvable",
      `no whole number \`${name ?? "?"}\` makes \`${textOf(left.span)}\` equal ${show(value)}`,
      [
        { span, text: `${show(value)} here` },
        { span: rule.span, text: "solved here" },
      ],
      `the other factors are ${namesIn(left)
        .filter((n) => n !== name)
        .map((n) => `${n} = ${JSON.stringify(toJson(bound.get(n) ?? { kind: "none" }))}`)
        .join(", ")}: their product must divide the value`,
    );
    return;
  }
  bound.set(name, { kind: "axis", label: null, size: quotient, origin: span });
}

/** The JSON of a model's arguments. Later alternatives are left out where they would only repeat the default. */
export function writeConfig(map: MapBinding, args: ReadonlyMap<string, Value>): Record<string, Json> {
  const out: Record<string, Json> = {};
  const env = staticEnv(newContext(), map.scope, new Map(args));
  for (const rule of map.item.config) {
    if (rule.map !== null) {
      const part = partOf(rule.map, rule.left, env);
      for (const [path, json] of entriesOf(writeConfig(part.map, part.args))) put(out, path, json);
      continue;
    }
    if (rule.isModel) {
      const { map: own, args: settings } = modelOf(rule, env);
      put(
        out,
        rule.keys[0]!.map((k) => k.text),
        writeConfig(own, settings),
      );
      continue;
    }
    const json = toJson(evaluate(env, rule.left));
    const fallback = rule.default === null ? undefined : defaultJson(rule.default, env);
    rule.keys.forEach((key, i) => {
      const path = key.map((k) => k.text);
      const repeats = i > 0 && fallback !== undefined && JSON.stringify(fallback) === JSON.stringify(json);
      const isNothing = json === null && (path.length > 1 || rule.keys.length > 1);
      if (repeats || isNothing) return;
      put(out, path, json);
    });
  }
  return out;
}

/** Paths such as `rope_parameters.factor` whose number is a float, also where it is whole: other tools tell `8.0` from `8`. */
export function findFloats(map: MapBinding, args: ReadonlyMap<string, Value>): ReadonlySet<string> {
  const env = staticEnv(newContext(), map.scope, new Map(args));
  const floats = map.item.config.flatMap((rule): readonly string[] => {
    const value = evaluate(env, rule.left);
    if (rule.map !== null) {
      const part = partOf(rule.map, rule.left, env);
      return [...findFloats(part.map, part.args)];
    }
    if (rule.isModel) {
      const own = modelOf(rule, env);
      const path = rule.keys[0]!.map((k) => k.text).join(".");
      return [...findFloats(own.map, own.args)].map((float) => `${path}.${float}`);
    }
    // Of a list, every entry.
    const isFloat = (v: Value): boolean => v.kind === "number" && v.float;
    return rule.keys.flatMap((key) => {
      const path = key.map((k) => k.text).join(".");
      if (value.kind !== "list") return isFloat(value) ? [path] : [];
      return value.items.flatMap((item, i) => (isFloat(item) ? [`${path}.${i}`] : []));
    });
  });
  return new Set(floats);
}

/** The map of a part and all arguments of its layer, defaults included, for writing. */
function partOf(name: Name, left: Expr, outer: Env): { map: MapBinding; args: ReadonlyMap<string, Value> } {
  const map = mapOfPart(name, left, outer.scope);
  const layer = evaluate(outer, left);
  if (layer.kind !== "constructor") return { map, args: new Map() };
  const args = new Map(layer.bound);
  const env = staticEnv(newContext(), layer.scope, args);
  for (const { name: param, default: initial } of layer.decl.params)
    if (initial !== null && !args.has(param.text)) args.set(param.text, evaluate(env, initial));
  return { map, args };
}

/** The map of a model that is a parameter, and all arguments of it. */
function modelOf({ left }: ConfigRule, env: Env): { map: MapBinding; args: ReadonlyMap<string, Value> } {
  const callee = evaluate(env, left);
  if (callee.kind !== "constructor") throw new MoeError(env.ctx.bag.list);
  const { args } = makeModel(callee, left.span);
  return { map: mapOfModel(env.scope, callee.decl, args), args };
}

/** The leaves of an object, with their paths. */
function entriesOf(json: Json, path: readonly string[] = []): readonly (readonly [readonly string[], Json])[] {
  if (json === null || typeof json !== "object" || Array.isArray(json)) return [[path, json]];
  return Object.entries(json).flatMap(([key, value]) => entriesOf(value, [...path, key]));
}

function defaultJson(expr: Expr, env: Env): Json | undefined {
  if (namesIn(expr).some((n) => n !== "none")) return undefined;
  return toJson(evaluate(env, expr));
}

function namesIn(expr: Expr): string[] {
  switch (expr.kind) {
    case "name":
      return [expr.name.text];
    case "binary":
      return [...namesIn(expr.left), ...namesIn(expr.right)];
    case "unary":
      return namesIn(expr.value);
    default:
      return [];
  }
}

function isProduct(expr: Expr): boolean {
  return (
    expr.kind === "name" || (expr.kind === "binary" && expr.op === "*" && isProduct(expr.left) && isProduct(expr.right))
  );
}
