/** What one rule of a map's `config` reads. */
import type { ConfigRule, Expr, LayerDecl } from "../../../grammar/ast.ts";
import { MoeError } from "../../../grammar/diagnostic.ts";
import { suggest } from "../../../grammar/index.ts";
import type { Span } from "../../../grammar/span.ts";
import { toSize } from "../../language/interpret/axes.ts";
import { evaluate, staticEnv } from "../../language/interpret/context.ts";
import type { Value } from "../../language/interpret/value.ts";
import { newContext } from "../../language/model/model.ts";
import type { Scope } from "../../language/resolve/scope.ts";
import { type ObjectNames, placeOf } from "./config-objects.ts";
import { at, type ConfigFile, findNotFinite, fromJson, type Json, keySpan } from "./config-value.ts";

/** What a rule reads, and where that stands. */
export interface Read {
  readonly value: Value;
  readonly span: Span;
}

/**
 * What the first of a rule's keys says that is there, else the rule's default. `optional`: null says that there is none. Throws
 * `map/missing-key`, `type/not-finite`, and what evaluating the default throws.
 */
export function readRule(
  rule: ConfigRule,
  config: ConfigFile,
  scope: Scope,
  bound: ReadonlyMap<string, Value>,
  objects: readonly ObjectNames[],
  optional: boolean,
): Read {
  let empty: Read | null = null;
  for (const key of rule.keys) {
    const path = placeOf(
      key.map((k) => k.text),
      config,
      objects,
    );
    const json = at(config.json, path);
    if (json !== undefined && json !== null) checkFinite(json, path, rule, config);
    if (json !== undefined && json !== null)
      return { value: fromJson(json, path.join("."), config, keySpan(config, path)), span: keySpan(config, path) };
    if (json === null) empty ??= { value: { kind: "none" }, span: keySpan(config, path) };
  }
  if (optional && empty !== null) return empty;
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
  // Names in a default are keys of the same config, or parameters that earlier rules gave.
  const locals = new Map<string, Value>(bound);
  for (const [key, json] of Object.entries(config.json))
    if (json !== null) locals.set(key, fromJson(json, key, config, keySpan(config, [key])));
  const ctx = newContext();
  const value = evaluate(staticEnv(ctx, scope, locals), rule.default);
  if (ctx.bag.hasErrors) throw new MoeError(ctx.bag.list);
  return { value: toSize(value) ?? value, span };
}

/** Python writes numbers without an end, and what is none, and reads them again. */
function checkFinite(json: Json, path: readonly string[], rule: ConfigRule, config: ConfigFile): void {
  const wrong = findNotFinite(json);
  if (wrong === null) return;
  throw new MoeError({
    code: "type/not-finite",
    severity: "error",
    message: `\`${path.join(".")}\` is ${wrong}, and a model is made of numbers that are finite`,
    labels: [
      { span: keySpan(config, path), text: `${wrong} here` },
      { span: rule.span, text: "read here" },
    ],
    notes: [],
    help: "correct config.json: null where there is no limit, if the model can be without one",
  });
}

/** Whether null says something: that there is none of what the model may be without. Elsewhere it is as a missing key. */
export function isOptional({ left }: ConfigRule, decl: LayerDecl): boolean {
  if (left.kind !== "name") return false;
  const usual = decl.params.find((p) => p.name.text === left.name.text)?.default;
  return usual?.kind === "name" && usual.name.text === "none";
}

/** A whole number as what its parameter is: a number with a fraction, or a truth value, as Python takes it. */
export function asDeclared(value: Value, usual: Expr | null): Value {
  if (value.kind !== "axis" || value.size.value === null) return value;
  const { value: count } = value.size;
  if (usual?.kind === "number" && usual.float) return { kind: "number", value: count, float: true };
  return usual?.kind === "bool" ? { kind: "bool", value: count !== 0 } : value;
}
