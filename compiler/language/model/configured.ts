/** `config small: Small { V: 2048 ... }` as a model. */
import type { ConfigDecl } from "../../../grammar/ast.ts";
import { DiagnosticBag, MoeError } from "../../../grammar/diagnostic.ts";
import { checkOption, needed, object } from "../../../grammar/option.ts";
import { constructorOf } from "../interpret/instance.ts";
import type { Scope } from "../resolve/scope.ts";
import { reportUnknownModel } from "../resolve/unknown.ts";
import { makeModel, newContext, type Model } from "./model.ts";

/** The model that a configuration describes; throws the diagnostics when it does not fit together. */
export function makeConfigured(scope: Scope, config: ConfigDecl): Model {
  checkOption("makeConfigured", "scope", scope, needed(object("a scope, of `Workspace.open`", "lookup", "file")));
  checkOption("makeConfigured", "config", config, needed(object("a `config` of a module", "model", "fields")));
  const target = scope.lookup(config.model.text);
  if (target?.item.kind !== "layer") {
    const bag = new DiagnosticBag();
    reportUnknownModel(bag, scope, config.model);
    throw new MoeError(bag.list);
  }
  const ctx = newContext();
  const callee = constructorOf(ctx, scope, target.item, config.fields);
  if (callee.kind !== "constructor" || ctx.bag.hasErrors) throw new MoeError(ctx.bag.list);
  return makeModel({ ...callee, scope: target.scope }, config.name.span);
}
