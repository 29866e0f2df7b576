/** Checks an upcycling on small sources: its rules are total and fit, and its contracts hold. A `mixture` relates two models. */
import type { MixtureDecl, UpcycleDecl } from "../../grammar/ast.ts";
import { type Diagnostic, DiagnosticBag, MoeError } from "../../grammar/diagnostic.ts";
import { bindParameters } from "../language/interpret/call.ts";
import { staticEnv } from "../language/interpret/context.ts";
import type { Value } from "../language/interpret/value.ts";
import { newContext } from "../language/model/model.ts";
import { tinyModel } from "../language/model/tiny.ts";
import type { Scope } from "../language/resolve/scope.ts";
import { reportUnknownModel } from "../language/resolve/unknown.ts";
import { ANY } from "../weights/upcycle/bind.ts";
import { reportContracts, runContracts, tinyUpcycling } from "../weights/upcycle/ensure.ts";
import { declaredFamilies, type Family, RELATIONS } from "../weights/upcycle/target.ts";

export function checkUpcycle(bag: DiagnosticBag, scope: Scope, decl: UpcycleDecl): void {
  const sources = decl.params.flatMap((p) => (p.source === null ? [] : [{ ...p.source, name: p.name }]));
  const models = sources.flatMap((s) => (s.model.text === ANY ? [] : [s.model]));
  for (const name of decl.targetOf === null ? [decl.target, ...models] : models)
    if (scope.lookup(name.text)?.item.kind !== "layer") reportUnknownModel(bag, scope, name);
  if (decl.targetOf !== null) checkRelation(bag, scope, decl, new Set(sources.map((s) => s.name.text)));
  if (bag.hasErrors) return;
  const families = sources.map(({ model }) => (model.text === ANY ? null : findFamily(scope, model.text)));
  const failed: DiagnosticBag[] = [];
  const isOpen = decl.params.some((p) => p.source === null && p.default === null);
  // What fits one family and no other, and what fits one kind of value and not another, is found in as many steps as there are values.
  for (const chosen of combine(families, candidates(scope)))
    for (const given of isOpen ? GIVEN : GIVEN.slice(0, 1)) {
      const tried = new DiagnosticBag();
      checkOn(
        tried,
        scope,
        decl,
        chosen.flatMap((family, i) => Array.from({ length: sources[i]!.count === null ? 1 : MODELS }, () => family)),
        given,
      );
      if (!tried.hasErrors) return;
      failed.push(tried);
    }
  for (const d of ownMistake(decl, failed)?.list ?? []) bag.add(d);
}

/** Models for a list of sources: the smallest number that tells indices apart and divides by two. */
const MODELS = 4;

/** What the command line might give where there is no default: a number, small and not more than the models, or a list with an entry for each. */
const GIVEN: readonly Value[] = [
  { kind: "number", value: 2, float: false },
  { kind: "list", items: ["a", "b", "c", "d"].map((value) => ({ kind: "string", value })) },
];

/**
 * Of what is wrong for different families, the upcycling's own mistake, if it has one: told for a family whose target can be made, and that
 * fits in all else, so that the fewest things are wrong; of several such, what is wrong for most.
 */
function ownMistake(decl: UpcycleDecl, failed: readonly DiagnosticBag[]): DiagnosticBag | undefined {
  const target = [decl.target.span, ...decl.targetArgs.map((a) => a.span), ...decl.where.map((e) => e.span)];
  const isOfTarget = ({ labels: [first] }: Diagnostic): boolean =>
    first !== undefined &&
    target.some((s) => s.file === first.span.file && s.start <= first.span.start && first.span.end <= s.end);
  const made = failed.filter(({ list }) => !list.some(isOfTarget));
  const able = made.length > 0 ? made : failed.filter(({ list }) => list[0]?.code !== "upcycle/no-mixture");
  const tried = able.length > 0 ? able : failed;
  const fewest = Math.min(...tried.map(({ list }) => list.length));
  const groups = Map.groupBy(
    tried.filter(({ list }) => list.length === fewest),
    ({ list: [first] }) => `${first?.code} ${first?.labels[0]?.span.start}`,
  );
  return [...groups.values()].reduce<readonly DiagnosticBag[]>((a, b) => (b.length > a.length ? b : a), [])[0];
}

/**
 * What `model` stands for is open: families in all its places, one that fits is enough. The same in all places comes first, so
 * that its errors are told when none fits.
 */
function* combine(families: readonly (Family | null)[], any: readonly Family[]): Generator<readonly Family[]> {
  const open = families.filter((f) => f === null).length;
  const fill = (chosen: readonly Family[]): readonly Family[] => {
    const left = [...chosen];
    return families.map((f) => f ?? left.shift()!);
  };
  if (open === 0) yield fill([]);
  else for (const family of any) yield fill(Array.from({ length: open }, () => family));
  if (open === 2) for (const a of any) for (const b of any) if (a !== b) yield fill([a, b]);
}

/** Families that declarations name, once each. */
function candidates(scope: Scope): readonly Family[] {
  const declared = scope.mixtures().map(declaredFamilies);
  const found = [...declared.map((d) => d.of), ...declared.map((d) => d.model)].filter((f) => f !== null);
  return [...new Map(found.map((f) => [f.decl, f])).values()];
}

function checkOn(bag: DiagnosticBag, scope: Scope, decl: UpcycleDecl, families: readonly Family[], given: Value): void {
  const options = new Map(
    decl.params
      .filter((p) => p.source === null && p.default === null)
      .map((p): [string, Value] => [p.name.text, given]),
  );
  try {
    if (decl.ensures.length === 0) tinyUpcycling(decl, scope, families, options);
    else reportContracts(bag, decl, runContracts(decl, scope, families, options));
  } catch (error) {
    if (!(error instanceof MoeError)) throw error;
    for (const d of error.diagnostics) bag.add(d);
  }
}

/** `mixture of src`, or a model that is declared to be one. */
function checkRelation(
  bag: DiagnosticBag,
  scope: Scope,
  { target, targetOf }: UpcycleDecl,
  sources: ReadonlySet<string>,
): void {
  const models = scope.mixtures().map(({ item }) => item.model.text);
  if (![...RELATIONS, ...models].includes(target.text))
    bag.error(
      "upcycle/bad-target",
      `there is no relation \`${target.text} of\``,
      [{ span: target.span, text: "not known" }],
      `a model is chosen as ${RELATIONS.map((r) => `\`${r} of ${targetOf!.text}\``).join(", ")}, or by the name of a declared mixture`,
    );
  else if (!sources.has(targetOf!.text))
    bag.error(
      "upcycle/bad-target",
      `there is no source \`${targetOf!.text}\``,
      [{ span: targetOf!.span, text: "not declared" }],
      sources.size === 0 ? "declare one: `src: model`" : `the sources are ${[...sources].join(", ")}`,
    );
}

function findFamily(scope: Scope, name: string): Family | null {
  const found = scope.lookup(name);
  return found?.item.kind === "layer" ? { decl: found.item, scope: found.scope } : null;
}

/** Both models are there, and the arguments of each are its own, in the parameters of the other. */
export function checkMixture(bag: DiagnosticBag, scope: Scope, item: MixtureDecl): void {
  const [model, of] = [item.model, item.of].map((name) => {
    const family = findFamily(scope, name.text);
    if (family === null) reportUnknownModel(bag, scope, name);
    return family;
  });
  if (model == null || of == null) return;
  const sides = [
    { from: of, to: model, args: item.args },
    { from: model, to: of, args: item.ofArgs },
  ];
  for (const { from, to, args } of sides) {
    const small = tinyModel(from.decl, from.scope, new Map());
    if (small === null) continue;
    const env = staticEnv(newContext("build", bag), scope, new Map(small.args));
    bindParameters(env, { kind: "constructor", ...to, bound: new Map() }, args);
  }
}
