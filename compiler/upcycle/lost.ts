/**
 * Settings that an upcycling drops. The target takes its arguments from the sources by name; where it has no parameter of
 * that name, a setting that is not at its default (a rotary scaling, a bias) is lost, and with it the sources' function.
 * A contract on a small instance, whose settings are all at their defaults, cannot see it.
 */
import type { Diagnostic } from "../../grammar/diagnostic.ts";
import { evaluate } from "../interpret/context.ts";
import { toJson } from "../map/config.ts";
import { newContext } from "../model/model.ts";
import type { Upcycling } from "./expand.ts";

/** One warning per setting. */
export function findLostSettings({ decl, sources, target }: Upcycling): readonly Diagnostic[] {
  const known = new Set(target.instance.decl.params.map((p) => p.name.text));
  const lost = new Map<string, Diagnostic>();
  for (const { instance, args, name: model } of sources) {
    for (const { name, default: initial } of instance.decl.params) {
      const value = args.get(name.text);
      if (initial === null || value === undefined || known.has(name.text) || lost.has(name.text)) continue;
      const ctx = newContext();
      const env = { ctx, scope: instance.scope, locals: new Map(args), instance: null, sink: null, calls: [] };
      const [given, usual] = [value, evaluate(env, initial)].map((v) => JSON.stringify(toJson(v)));
      if (given === usual) continue;
      lost.set(name.text, {
        code: "upcycle/lost-setting",
        severity: "warning",
        message: `the sources have \`${name.text}\` = ${given}, for which \`${target.name}\` has no parameter`,
        labels: [
          { span: name.span, text: `a parameter of \`${model}\`` },
          { span: decl.target.span, text: "not one of this model's" },
        ],
        notes: [],
        help: "check that the new model does not need it, or upcycle to a model that has it",
      });
    }
  }
  return [...lost.values()];
}
