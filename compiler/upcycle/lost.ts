/**
 * Settings that an upcycling drops. The target takes its arguments from the sources by name; where it has no parameter of
 * that name, a setting that is not at its default (a rotary scaling, a bias) is lost, and with it the sources' function.
 * A contract on a small instance, whose settings are all at their defaults, cannot see it.
 */
import type { Diagnostic } from "../../grammar/diagnostic.ts";
import { evaluate } from "../interpret/context.ts";
import { toJson } from "../map/config-value.ts";
import { newContext, type Model } from "../model/model.ts";
import type { Upcycling } from "./expand.ts";

/** A warning that names them all, or nothing. */
export function findLostSettings({ decl, sources, target }: Upcycling): readonly Diagnostic[] {
  const known = new Set(target.instance.decl.params.map((p) => p.name.text));
  const lost = new Map<string, string>();
  for (const source of sources) {
    for (const [name, value] of settingsOf(source)) if (!known.has(name)) lost.set(name, value);
  }
  if (lost.size === 0) return [];
  const list = [...lost].map(([name, value]) => `\`${name}\` = ${value}`).join(", ");
  return [
    {
      code: "upcycle/lost-setting",
      severity: "warning",
      message: `the sources have ${list}, and \`${target.name}\` has no such parameter${lost.size === 1 ? "" : "s"}`,
      labels: [{ span: decl.target.span, text: "this model takes its settings from the sources by name" }],
      notes: [],
      help: "check that the new model does not need them, or upcycle to a model that has them",
    },
  ];
}

/** Arguments that are not the default, as JSON. */
function settingsOf({ instance, args }: Model): readonly (readonly [string, string])[] {
  return instance.decl.params.flatMap(({ name, default: initial }) => {
    const value = args.get(name.text);
    if (initial === null || value === undefined) return [];
    const env = {
      ctx: newContext(),
      scope: instance.scope,
      locals: new Map(args),
      instance: null,
      sink: null,
      pools: false,
      calls: [],
    };
    const [given, usual] = [value, evaluate(env, initial)].map((v) => JSON.stringify(toJson(v)));
    return given === usual ? [] : [[name.text, given!] as const];
  });
}
