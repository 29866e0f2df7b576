/**
 * Settings that an upcycling drops. The target takes its arguments from the sources by name; where it has no parameter of
 * that name, a setting that is not at its default (a rotary scaling, a bias) is lost, and with it the sources' function, unless
 * the source computes the same without it.
 * A contract on a small instance, whose settings are all at their defaults, cannot see it.
 */
import { type Diagnostic, MoeError } from "../../../grammar/diagnostic.ts";
import type { Program } from "../../graph/node.ts";
import { isSameProgram } from "../../graph/traverse.ts";
import { evaluate } from "../../language/interpret/context.ts";
import type { Value } from "../../language/interpret/value.ts";
import { toJson } from "../map/config-value.ts";
import { buildProgram, makeModel, newContext, type Model } from "../../language/model/model.ts";
import type { Upcycling } from "./expand.ts";

/** A warning that names them all, or nothing. */
export function findLostSettings({ decl, sources, target }: Upcycling): readonly Diagnostic[] {
  // What is given as a whole keeps its own.
  const within = [...target.args.values()].flatMap((v) => (v.kind === "constructor" ? [v.decl] : []));
  const known = new Set([target.instance.decl, ...within].flatMap((decl) => decl.params.map((p) => p.name.text)));
  const lost = new Map<string, string>();
  for (const source of sources) {
    for (const { name, given, usual } of settingsOf(source))
      if (!known.has(name) && !lost.has(name) && isFunctional(source, name, usual)) lost.set(name, textOf(given));
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

interface Setting {
  readonly name: string;
  readonly given: Value;
  readonly usual: Value;
}

const textOf = (value: Value): string => JSON.stringify(toJson(value));

/** Arguments that are not the default. */
function settingsOf({ instance, args }: Model): readonly Setting[] {
  return instance.decl.params.flatMap(({ name, default: initial }): readonly Setting[] => {
    const given = args.get(name.text);
    if (initial === null || given === undefined) return [];
    const env = {
      ctx: newContext(),
      scope: instance.scope,
      locals: new Map(args),
      instance: null,
      sink: null,
      pools: false,
      calls: [],
    };
    const usual = evaluate(env, initial);
    return textOf(given) === textOf(usual) ? [] : [{ name: name.text, given, usual }];
  });
}

/** Whether a model computes something else with a setting at its default. */
function isFunctional({ instance, args }: Model, name: string, usual: Value): boolean {
  const { decl, scope } = instance;
  try {
    const other = makeModel(
      { kind: "constructor", decl, scope, bound: new Map([...args, [name, usual]]) },
      decl.name.span,
    );
    const { builder } = newContext();
    const programOf = (of: Model["instance"]): Program => buildProgram(of, { ...newContext(), builder });
    return !isSameProgram(programOf(other.instance), programOf(instance));
  } catch (error) {
    if (error instanceof MoeError) return true;
    throw error;
  }
}
