/**
 * Paths such as `blocks[l].ffn.experts[n].gate.w` against the tree of a model. Brackets bind index variables: one result
 * per value. Maps and upcyclings name parameters in this one way.
 */
import type { Expr } from "../../../grammar/ast.ts";
import { type Diagnostic, type DiagnosticBag, suggest } from "../../../grammar/index.ts";
import { LIMITS } from "../../../grammar/limits.ts";
import { fillPath } from "../../graph/path.ts";
import type { Env } from "../../language/interpret/context.ts";
import type { Instance, ParameterInfo } from "../../language/interpret/value.ts";

interface FoundBase {
  /** Index variables that the path bound. */
  readonly indices: ReadonlyMap<string, number>;
  /** Bank axes that an index fixed, by label. */
  readonly banks: ReadonlyMap<string, number>;
  /** The layer chosen, by template path. */
  readonly layers: ReadonlyMap<string, number>;
}

export type Found =
  | (FoundBase & { readonly kind: "layer"; readonly instance: Instance; readonly path: string })
  | (FoundBase & { readonly kind: "parameter"; readonly parameter: ParameterInfo; readonly path: string });

/** Where a search starts: what was bound on the way to `instance`. */
export interface Start {
  readonly indices: ReadonlyMap<string, number>;
  readonly layers: ReadonlyMap<string, number>;
  /** How many parameters a path may mean, if more than `LIMITS.tensors`. */
  readonly most?: number;
  /** Told of a path that means more, in place of the bag that is told of all else: who tries a layout may mean another. */
  readonly tooMany?: DiagnosticBag | undefined;
  /** Likewise of a name that is not there: layers of a stack may differ, and who asks whether something is there may do without. */
  readonly absent?: DiagnosticBag | undefined;
}

/** Everything that a path means below an instance; reports names that do not exist. */
export function resolvePath(env: Env, instance: Instance, path: Expr, start: Start): readonly Found[] {
  const steps = pathSteps(path);
  if (steps === null) {
    env.ctx.bag.error(
      "map/bad-path",
      "a path is names with indices, such as `blocks[l].attn.q.w`",
      [{ span: path.span, text: "not a path" }],
      "write names with dots between them",
    );
    return [];
  }
  let found: Found[] = [
    {
      kind: "layer",
      instance,
      path: fillPath(instance.path, start.layers),
      indices: new Map(),
      banks: new Map(),
      layers: new Map(start.layers),
    },
  ];
  const most = start.most ?? LIMITS.tensors;
  for (const step of steps) {
    if (found.length * countOf(found[0], step) > most) {
      (start.tooMany ?? env.ctx.bag).addOnce(tooMany(found, step, most));
      return [];
    }
    found = found.flatMap((f) => takeStep(env, f, step, start));
  }
  return found;
}

/** How many layers or experts a step with a variable runs over. */
function countOf(from: Found | undefined, { name, index }: Step): number {
  if (from?.kind !== "layer" || index?.kind !== "name") return 1;
  const member = from.instance.members.get(name);
  if (member?.kind === "stack") return member.layers.length;
  return member?.kind === "layer" ? (member.instance.banks.at(-1)?.size.value ?? 1) : 1;
}

function tooMany(found: readonly Found[], step: Step, most: number): Diagnostic {
  const count = countOf(found[0], step);
  const from = found[0]?.kind === "layer" ? found[0].instance.members.get(step.name) : undefined;
  const axis = from?.kind === "stack" ? from.count : from?.kind === "layer" ? from.instance.banks.at(-1) : undefined;
  const origin = axis?.origin ?? null;
  return {
    code: "map/too-many",
    severity: "error",
    message: `\`${step.name}\` has ${count} elements${found.length === 1 ? "" : ` in each of ${found.length} layers`}, and at most ${most} tensors can be named here`,
    labels: [
      ...(origin === null ? [] : [{ span: origin, text: `${count} comes from here` }]),
      { span: step.span, text: "a tensor for each" },
    ],
    notes: [],
    help: "correct the count of layers or experts: there is a tensor for each",
  };
}

interface Step {
  readonly name: string;
  readonly index: Expr | null;
  readonly span: Expr["span"];
}

function pathSteps(path: Expr): Step[] | null {
  switch (path.kind) {
    case "name":
      return [{ name: path.name.text, index: null, span: path.span }];
    case "member": {
      const before = pathSteps(path.object);
      return before === null ? null : [...before, { name: path.name.text, index: null, span: path.name.span }];
    }
    case "bracket": {
      const before = pathSteps(path.object);
      const last = before?.pop();
      const [index] = path.items;
      return before == null || last === undefined || index === undefined || path.items.length > 1
        ? null
        : [...before, { ...last, index }];
    }
    default:
      return null;
  }
}

function takeStep(env: Env, from: Found, step: Step, { indices: outer, absent }: Start): Found[] {
  const members = from.kind === "layer" ? from.instance.members : new Map<string, never>();
  const member = from.kind === "layer" ? from.instance.members.get(step.name) : undefined;
  if (member === undefined || member.kind === "value") {
    const near = suggest(step.name, [...members.keys()]);
    (absent ?? env.ctx.bag).error(
      "map/no-member",
      `there is no \`${step.name}\` in ${from.path === "" ? "the model" : `\`${from.path}\``}`,
      [{ span: step.span, text: "not a member" }],
      near === null
        ? members.size > 0
          ? `it has ${[...members.keys()].join(", ")}`
          : null
        : `did you mean \`${near}\`?`,
    );
    return [];
  }
  if (member.kind === "absent") return [];
  if (member.kind === "parameter")
    return [
      { ...from, kind: "parameter", parameter: member.parameter, path: fillPath(member.parameter.path, from.layers) },
    ];
  if (member.kind === "layer") {
    const { instance } = member;
    const bank =
      instance.banks.length > (from.kind === "layer" ? from.instance.banks.length : 0) ? instance.banks.at(-1)! : null;
    const base = {
      kind: "layer" as const,
      instance,
      path: fillPath(instance.path, from.layers),
      indices: from.indices,
      banks: from.banks,
      layers: from.layers,
    };
    if (step.index === null) return [base];
    if (bank === null) {
      env.ctx.bag.error(
        "map/bad-path",
        `\`${step.name}\` is one layer and takes no index`,
        [{ span: step.span, text: "indexed here" }],
        `write \`${step.name}\``,
      );
      return [];
    }
    return indexValues(env, step, bank.size.value ?? 0, outer, from.indices).map(({ value, bound }) => ({
      ...base,
      banks: new Map([...base.banks, [bank.name, value]]),
      indices: new Map([...base.indices, ...bound]),
    }));
  }
  if (step.index === null) {
    env.ctx.bag.error(
      "map/bad-path",
      `\`${step.name}\` is a list of layers and needs an index`,
      [{ span: step.span, text: "not indexed" }],
      `write \`${step.name}[l]\``,
    );
    return [];
  }
  return indexValues(env, step, member.layers.length, outer, from.indices).map(({ value, bound }) => {
    const template = member.layers[value]!;
    const layers = new Map([...from.layers, [template.path, value]]);
    return {
      kind: "layer",
      instance: template,
      path: fillPath(template.path, layers),
      indices: new Map([...from.indices, ...bound]),
      banks: from.banks,
      layers,
    };
  });
}

/** A number or a bound variable gives one value; a new variable runs over all. */
function indexValues(
  env: Env,
  step: Step,
  count: number,
  outer: ReadonlyMap<string, number>,
  bound: ReadonlyMap<string, number>,
): { value: number; bound: [string, number][] }[] {
  const { index } = step;
  if (index?.kind === "number") {
    if (index.value < count && Number.isInteger(index.value)) return [{ value: index.value, bound: [] }];
    env.ctx.bag.error(
      "map/index-range",
      `\`${step.name}\` has ${count} elements`,
      [{ span: index.span, text: `there is no ${index.value}` }],
      `indices begin at 0: write \`${step.name}[l]\` for all of them`,
    );
    return [];
  }
  if (index?.kind !== "name") {
    env.ctx.bag.error(
      "map/bad-path",
      "an index is a number or a variable",
      [{ span: step.span, text: "indexed here" }],
      `write \`${step.name}[l]\``,
    );
    return [];
  }
  const name = index.name.text;
  const known = bound.get(name) ?? outer.get(name);
  if (known !== undefined) return known < count ? [{ value: known, bound: [] }] : [];
  return Array.from({ length: count }, (_, value) => ({ value, bound: [[name, value]] }));
}
