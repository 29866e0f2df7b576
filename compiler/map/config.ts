/**
 * The `config` block of a map, read both ways. Reading gives a model's arguments from a parsed config.json; writing gives
 * the JSON back, every alternative key included, so that old and new releases of other tools find what they look for.
 */
import type { ConfigRule, Expr, LayerDecl, MapDecl } from "../../grammar/ast.ts";
import { type DiagnosticBag, MoeError } from "../../grammar/diagnostic.ts";
import { suggest } from "../../grammar/index.ts";
import { textOf, type SourceFile, type Span } from "../../grammar/span.ts";
import { Dim } from "../graph/dim.ts";
import type { Env } from "../interpret/context.ts";
import { evaluate, staticEnv } from "../interpret/context.ts";
import type { ConstructorValue, Value } from "../interpret/value.ts";
import { newContext } from "../model/model.ts";
import type { Binding, Scope, Workspace } from "../resolve/modules.ts";

export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };

/** A parsed config.json; numbers that were written as floats are kept apart, for `8.0` is not a size. */
export interface ConfigFile {
  readonly file: SourceFile;
  readonly json: Readonly<Record<string, Json>>;
  /** Paths such as `rope_parameters.factor` whose number had a point or an exponent. */
  readonly floats: ReadonlySet<string>;
}

export type MapBinding = Binding & { readonly item: MapDecl };

/** The map whose `model_type` is this config's, or null. */
export function lookupMap(config: ConfigFile, maps: readonly MapBinding[]): MapBinding | null {
  return maps.find((m) => modelType(m.item) === config.json["model_type"]) ?? null;
}

/** The same among those of the standard library too; throws with the known ones when there is none. */
export function findMap(workspace: Workspace, config: ConfigFile, own: readonly MapBinding[] = []): MapBinding {
  const maps = [...own, ...workspace.standard("map")];
  const type = config.json["model_type"];
  const found = lookupMap(config, maps);
  if (found !== null) return found;
  const known = [...new Set(maps.map((m) => modelType(m.item)).filter((t) => t !== null))].sort();
  const near = typeof type === "string" ? suggest(type, known) : null;
  throw new MoeError({
    code: "map/unknown-family",
    severity: "error",
    message:
      type === undefined ? "config.json has no `model_type`" : `no map reads checkpoints of type \`${String(type)}\``,
    labels: [{ span: keySpan(config, ["model_type"]), text: type === undefined ? "in this file" : "this type" }],
    notes: [`known types: ${known.join(", ")}`],
    help:
      near === null
        ? "write a `map` for it (docs/language.md, maps) and pass the file with --map"
        : `did you mean \`${near}\`?`,
  });
}

export function modelType(map: MapDecl): string | null {
  const rule = map.config.find((r) => r.keys.some((k) => k.length === 1 && k[0]!.text === "model_type"));
  return rule?.left.kind === "string" ? rule.left.value : null;
}

/** The model that a map is for, with the arguments that the config gives. */
export function readConfig(map: MapBinding, config: ConfigFile): ConstructorValue {
  const target = map.scope.lookup(map.item.model.text);
  if (target?.item.kind !== "layer") throw new Error(`map ${map.item.name.text} is for no model`);
  const decl = target.item;
  const bound = new Map<string, Value>();
  const ctx = newContext();
  const env = staticEnv(ctx, map.scope, bound);
  for (const rule of map.item.config) {
    const { value, span } = readRule(rule, config, map.scope);
    bindLeft(rule, value, span, bound, env, (name) => {
      const param = decl.params.find((p) => p.name.text === name);
      return param?.default?.kind === "number" && param.default.float;
    });
    checkSize(rule, decl, value, span, ctx.bag);
  }
  if (ctx.bag.hasErrors) throw new MoeError(ctx.bag.list);
  return { kind: "constructor", decl, scope: target.scope, bound };
}

/** A parameter without a default or a type is a size. Told here, where the key is known. */
function checkSize({ left, span }: ConfigRule, decl: LayerDecl, value: Value, key: Span, bag: DiagnosticBag): void {
  const param = left.kind === "name" ? decl.params.find((p) => p.name.text === left.name.text) : undefined;
  if (param === undefined || param.default !== null || param.type !== null || value.kind === "axis") return;
  bag.error(
    "type/parameter-kind",
    `\`${param.name.text}\` of \`${decl.name.text}\` is a size, not ${show(value)}`,
    [
      { span: key, text: "must be a whole number" },
      { span, text: "read here" },
    ],
    "correct config.json",
  );
}

interface Read {
  readonly value: Value;
  readonly span: Span;
}

function readRule(rule: ConfigRule, config: ConfigFile, scope: Scope): Read {
  for (const key of rule.keys) {
    const path = key.map((k) => k.text);
    const json = at(config.json, path);
    if (json !== undefined && json !== null)
      return { value: fromJson(json, path.join("."), config, keySpan(config, path)), span: keySpan(config, path) };
  }
  const first = rule.keys[0]!.map((k) => k.text);
  const span = keySpan(config, first);
  if (rule.default === null) {
    const near = suggest(first.at(-1)!, Object.keys(config.json));
    throw new MoeError({
      code: "map/missing-key",
      severity: "error",
      message: `config.json has no \`${first.join(".")}\``,
      labels: [
        { span, text: "in this file" },
        { span: rule.span, text: "needed here" },
      ],
      notes: [],
      help:
        near === null
          ? "add the key, or give the map a default with `= value`"
          : `did you mean \`${near}\`? otherwise give the map a default with \`= value\``,
    });
  }
  // Names in a default are keys of the same config.
  const locals = new Map<string, Value>();
  for (const [key, json] of Object.entries(config.json))
    if (json !== null) locals.set(key, fromJson(json, key, config, keySpan(config, [key])));
  const ctx = newContext();
  const value = evaluate(staticEnv(ctx, scope, locals), rule.default);
  if (ctx.bag.hasErrors) throw new MoeError(ctx.bag.list);
  return { value, span };
}

function bindLeft(
  rule: ConfigRule,
  value: Value,
  span: Span,
  bound: Map<string, Value>,
  env: Env,
  isFloat: (name: string) => boolean | undefined,
): void {
  const { left } = rule;
  if (left.kind === "name") {
    const float = isFloat(left.name.text) === true && value.kind === "axis" && value.size.value !== null;
    bound.set(left.name.text, float ? { kind: "number", value: value.size.value!, float: true } : value);
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
  const product =
    rest === null ? null : Dim.product(rest.map((v) => (v.kind === "axis" ? v.size : Dim.of(Number.NaN))));
  const quotient = product === null || value.kind !== "axis" ? null : value.size.over(product);
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
    const json = toJson(evaluate(env, rule.left));
    const fallback = rule.default === null ? undefined : defaultJson(rule.default, env);
    rule.keys.forEach((key, i) => {
      const path = key.map((k) => k.text);
      const repeats = i > 0 && fallback !== undefined && JSON.stringify(fallback) === JSON.stringify(json);
      if (repeats || (json === null && path.length > 1)) return;
      put(out, path, json);
    });
  }
  return out;
}

/** Paths such as `rope_parameters.factor` whose number is a float, also where it is whole: other tools tell `8.0` from `8`. */
export function findFloats(map: MapBinding, args: ReadonlyMap<string, Value>): ReadonlySet<string> {
  const env = staticEnv(newContext(), map.scope, new Map(args));
  const floats = map.item.config.filter((rule) => {
    const value = evaluate(env, rule.left);
    return value.kind === "number" && value.float;
  });
  return new Set(floats.flatMap((rule) => rule.keys.map((key) => key.map((k) => k.text).join("."))));
}

function defaultJson(expr: Expr, env: Env): Json | undefined {
  if (namesIn(expr).some((n) => n !== "none")) return undefined;
  return toJson(evaluate(env, expr));
}

function put(out: Record<string, Json>, path: readonly string[], json: Json): void {
  const [head, ...rest] = path;
  if (rest.length === 0) out[head!] = json;
  else {
    const inner = { ...((out[head!] ?? {}) as Record<string, Json>) };
    put(inner, rest, json);
    out[head!] = inner;
  }
}

function at(json: Json, path: readonly string[]): Json | undefined {
  let current: Json | undefined = json;
  for (const key of path) {
    if (current === null || typeof current !== "object" || Array.isArray(current)) return undefined;
    current = (current as Readonly<Record<string, Json>>)[key];
  }
  return current;
}

function fromJson(json: Json, path: string, config: ConfigFile, span: Span): Value {
  switch (typeof json) {
    case "boolean":
      return { kind: "bool", value: json };
    case "string":
      return { kind: "string", value: json };
    case "number":
      if (Number.isInteger(json) && !config.floats.has(path))
        return { kind: "axis", label: null, size: Dim.of(json), origin: span };
      return { kind: "number", value: json, float: true };
    default:
      if (Array.isArray(json))
        return {
          kind: "list",
          items: json.map((item: Json, i: number) => fromJson(item, `${path}.${i}`, config, span)),
        };
      return { kind: "none" };
  }
}

export function toJson(value: Value): Json {
  switch (value.kind) {
    case "bool":
    case "string":
      return value.value;
    case "number":
      return value.value;
    case "axis":
      return value.size.value;
    case "list":
      return value.items.map(toJson);
    default:
      return null;
  }
}

function show(value: Value): string {
  return `\`${JSON.stringify(toJson(value))}\``;
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

/** Where a key stands in config.json, or the start of the file when it is missing. */
function keySpan(config: ConfigFile, path: readonly string[]): Span {
  const { file } = config;
  const match = new RegExp(`"${path.at(-1)!.replace(/[^\w]/g, "")}"\\s*:[^\\n,}]*`).exec(file.text);
  return match === null ? { file, start: 0, end: 1 } : { file, start: match.index, end: match.index + match[0].length };
}
