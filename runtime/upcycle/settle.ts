/**
 * Settings on which the sources of an upcycling differ and the result can have one only. Which change nothing that is computed
 * (token ids, how long texts may be) is found by building each model's program with the other's value: those are the first source's,
 * and that is told. Any other is refused, unless it is said whose counts.
 */
import {
  buildProgram,
  makeModel,
  type Model,
  newContext,
  printProgram,
  toJson,
  type Value,
} from "../../compiler/index.ts";
import type { UpcycleDecl } from "../../grammar/ast.ts";
import { type Diagnostic, failure, MoeError } from "../../grammar/diagnostic.ts";
import { suggest } from "../../grammar/index.ts";

export interface Settled {
  /** With the settings that were taken in place of their own. */
  readonly models: readonly Model[];
  /** By setting, the name of the source that it is of. */
  readonly taken: Readonly<Record<string, string>>;
  readonly notes: readonly Diagnostic[];
}

/** `take`: `base`, for all that differ, or `NAME=SOURCE`, with the name of a source as rules write it. Throws `upcycle/bad-take`. */
export function settle(decl: UpcycleDecl, models: readonly Model[], take: readonly string[]): Settled {
  const names = nameSources(decl, models.length);
  const wanted = parse(take, names, models);
  const taken: Record<string, string> = {};
  const notes: string[] = [];
  let settled = models;
  for (const setting of differing(models)) {
    const by = wanted.get(setting) ?? wanted.get("") ?? (isIdle(models, setting) ? 0 : null);
    const value = by === null ? undefined : models[by]!.args.get(setting);
    if (by === null || value === undefined) continue;
    settled = settled.map((model) => withSetting(model, setting, value));
    taken[setting] = names[by]!;
    const others = [...new Set(models.flatMap((m) => m.args.get(setting) ?? []).map(textOf))];
    notes.push(`\`${setting}\` is ${textOf(value)}, of ${others.join(" and ")}`);
  }
  if (notes.length === 0) return { models, taken, notes: [] };
  const given = [...new Set(Object.values(taken))].map((name) => `\`${name}\``).join(", ");
  const note: Diagnostic = {
    code: "upcycle/taken",
    severity: "warning",
    message: `the sources differ in ${Object.keys(taken)
      .map((name) => `\`${name}\``)
      .join(", ")}: the result has what ${given} has`,
    labels: [],
    notes,
    help: `say whose counts with --take ${Object.keys(taken)[0]!}=NAME, such as ${names.at(-1)!}`,
  };
  return { models: settled, taken, notes: [note] };
}

/** As rules write them: `src[0]`, or `base` where it is one model. */
export function nameSources(decl: UpcycleDecl, count: number): readonly string[] {
  const params = decl.params.filter((p) => p.source !== null);
  const single = params.filter((p) => p.source!.count === null).length;
  return params.flatMap(({ name: { text }, source }) =>
    source!.count === null ? [text] : Array.from({ length: Math.max(0, count - single) }, (_, i) => `${text}[${i}]`),
  );
}

/** Source numbers by setting; under the empty name the one for all. */
function parse(
  take: readonly string[],
  names: readonly string[],
  models: readonly Model[],
): ReadonlyMap<string, number> {
  const settings = [...new Set(models.flatMap((m) => [...m.args.keys()]))];
  return new Map(
    take.map((text) => {
      const [name, source] = text.includes("=") ? (text.split("=", 2) as [string, string]) : ["", text];
      const found = names.indexOf(source);
      // Where no source is called so, the base is the first.
      const by = found < 0 && source === "base" ? 0 : found;
      const near = suggest(name, settings);
      if (by < 0 || by >= models.length)
        throw failure("upcycle/bad-take", `there is no source \`${source}\``, {
          notes: [`--take ${text}`],
          help: `it is one of base, ${names.join(", ")}`,
        });
      if (name !== "" && !settings.includes(name))
        throw failure("upcycle/bad-take", `no source has a setting \`${name}\``, {
          notes: [`--take ${text}`],
          help: near === null ? `settings are ${settings.join(", ")}` : `did you mean \`${near}\`?`,
        });
      return [name, by] as const;
    }),
  );
}

const textOf = (value: Value): string => JSON.stringify(toJson(value));

/** Settings that not all have alike that have them. */
function differing(models: readonly Model[]): readonly string[] {
  const texts = new Map<string, Set<string>>();
  for (const [name, value] of models.flatMap((m) => [...m.args]))
    texts.set(name, (texts.get(name) ?? new Set()).add(textOf(value)));
  return [...texts].flatMap(([name, all]) => (all.size > 1 ? [name] : []));
}

/** Whether all models compute the same with the first one's value. */
function isIdle(models: readonly Model[], setting: string): boolean {
  const value = models[0]?.args.get(setting);
  if (value === undefined) return false;
  return models.every((model) => {
    if (!model.args.has(setting) || textOf(model.args.get(setting)!) === textOf(value)) return true;
    try {
      return programOf(model) === programOf(remake(model, setting, value));
    } catch (error) {
      if (error instanceof MoeError) return false;
      throw error;
    }
  });
}

const withSetting = (model: Model, setting: string, value: Value): Model =>
  model.args.has(setting) ? { ...model, args: new Map([...model.args, [setting, value]]) } : model;

function remake({ instance: { decl, scope }, args }: Model, setting: string, value: Value): Model {
  const bound = new Map([...args, [setting, value] as const]);
  return makeModel({ kind: "constructor", decl, scope, bound }, decl.span);
}

/** All that a model has and computes, for whatever purpose. */
function programOf(model: Model): string {
  const parameters = model.parameters.map(({ path, axes }) => `${path} ${axes.map((a) => a.size).join(" ")}`);
  const programs = (["evaluate", "train", "generate"] as const).map((purpose) =>
    printProgram(buildProgram(model.instance, newContext("build", undefined, purpose))),
  );
  return [...parameters, ...programs].join("\n");
}
