/**
 * Checks a map without a checkpoint: its config gives every parameter that the model needs, and its rules, expanded over
 * a small instance, cover every model parameter exactly once with layouts that fit.
 */
import type { MapDecl } from "../../grammar/ast.ts";
import type { DiagnosticBag } from "../../grammar/diagnostic.ts";
import { walk } from "../../grammar/index.ts";
import { findPart } from "../weights/map/part.ts";
import { expandMap } from "../weights/map/tensors.ts";
import { checkTotal } from "../weights/map/total.ts";
import { tinyModel } from "../language/model/tiny.ts";
import type { Scope } from "../language/resolve/scope.ts";
import { reportUnknownModel, reportUnknownParameter } from "../language/resolve/unknown.ts";

export function checkMap(bag: DiagnosticBag, scope: Scope, item: MapDecl): void {
  const target = scope.lookup(item.model.text);
  // The config of a layer that is no model is part of other maps' configs; what it leaves open is given there.
  const isPart = target?.item.kind === "layer" && target.item.keyword !== "model" && item.rules.length === 0;
  if (target?.item.kind !== "layer" || (target.item.keyword !== "model" && !isPart)) {
    reportUnknownModel(bag, scope, item.model);
    return;
  }
  const decl = target.item;
  const named = new Set(item.config.flatMap((r) => (r.isWritten ? [] : namesOf(r.left))));
  const missing = isPart ? [] : decl.params.filter((p) => p.default === null && !named.has(p.name.text));
  if (missing.length > 0) {
    bag.error(
      "map/missing-parameter",
      `the config gives no ${missing.map((p) => `\`${p.name.text}\``).join(", ")}`,
      [
        { span: item.name.span, text: "in this map" },
        { span: missing[0]!.span, text: "the model needs it" },
      ],
      `add a line such as \`${missing[0]!.name.text} <-> some_key\``,
    );
  }
  for (const rule of item.config) {
    const part = rule.map === null ? null : findPart(rule.map, rule.left, scope);
    if (part !== null && "code" in part) bag.add(part);
    for (const name of namesOf(rule.left)) {
      if (decl.params.some((p) => p.name.text === name)) continue;
      reportUnknownParameter(bag, decl, name, rule.left.span, "not a parameter");
    }
  }
  walk(item, (node) => {
    const name = node.kind === "ignore" && "otherwise" in node ? node.otherwise?.name : undefined;
    if (name !== undefined && !decl.params.some((p) => p.name.text === name.text))
      reportUnknownParameter(bag, decl, name.text, name.span, "not a parameter");
  });
  if (bag.hasErrors || isPart) return;
  const model = tinyModel(decl, target.scope, new Map());
  if (model === null) return;
  const { entries } = expandMap({ item, scope }, model, null, bag);
  if (!bag.hasErrors) checkTotal(model, entries, bag, item.name.span);
}

function namesOf(expr: MapDecl["config"][number]["left"]): readonly string[] {
  if (expr.kind === "name") return [expr.name.text];
  return expr.kind === "binary" ? [...namesOf(expr.left), ...namesOf(expr.right)] : [];
}
