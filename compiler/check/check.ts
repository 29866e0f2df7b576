/**
 * Checks a file without instantiating it: every declaration is read with symbolic sizes, so an axis that does not fit is
 * found before anyone runs it, for all sizes at once. Each boolean parameter is tried both ways, so both sides of an `if`
 * are seen. The rules are those of the build itself; nothing is typed twice.
 */
import type { ConfigDecl, FnDecl, Item, LayerDecl, Member, Param } from "../../grammar/ast.ts";
import type { Diagnostic } from "../../grammar/diagnostic.ts";
import { DiagnosticBag, MoeError } from "../../grammar/diagnostic.ts";
import { walk } from "../../grammar/index.ts";
import { checkOption, needed, object, orNull } from "../../grammar/option.ts";
import { Dim } from "../graph/dim.ts";
import { declaredAxes } from "../language/interpret/axes.ts";
import { Endless } from "../language/interpret/bounds.ts";
import type { Context, Env, Observer, Purpose } from "../language/interpret/context.ts";
import { evaluate, evaluateDim, lookupName, staticEnv } from "../language/interpret/context.ts";
import { finish } from "../language/interpret/results.ts";
import { runBody } from "../language/interpret/statements.ts";
import { constructorOf, instantiate } from "../language/interpret/instance.ts";
import { symbolicShape } from "../language/interpret/shape.ts";
import type { ConstructorValue, Value } from "../language/interpret/value.ts";
import { listParameters, newContext, tryBuildProgram } from "../language/model/model.ts";
import type { Scope } from "../language/resolve/scope.ts";
import { reportUnknownModel } from "../language/resolve/unknown.ts";
import { lintNames, lintProgram } from "./lint.ts";
import { checkZeros } from "./moves-zeros.ts";
import { checkImports, isReadable } from "./readable.ts";
import { checkMap } from "./map.ts";
import { checkNames } from "./names.ts";
import { checkTests } from "./tests.ts";
import { checkMixture, checkUpcycle } from "./upcycle.ts";

/**
 * All problems of a file: syntax, names, types, shapes, maps. Empty when it is fine. Behind a syntax error the rest is checked as far as
 * it does not need what could not be read. An observer sees what is read, of damaged declarations too. Throws `option/*`.
 */
export function checkModule(scope: Scope, observer: Observer | null = null): readonly Diagnostic[] {
  checkOption("checkModule", "scope", scope, SCOPE);
  checkOption("checkModule", "observer", observer, OBSERVER);
  const imports = new DiagnosticBag();
  checkImports(imports, scope);
  const found = [...scope.diagnostics, ...imports.list];
  const values = new Set<Member>();
  const wrong = new Set<Item>();
  const dims: Context["dims"] = new Map();
  for (const item of scope.module.items) {
    const bag = new DiagnosticBag();
    const checking: Checking = { scope, observer, bag, dims };
    if (!isReadable(scope, item, wrong)) {
      if (observer !== null) look(checking, item);
      continue;
    }
    const isEndless = checkWhole(checking, item, values);
    found.push(...bag.list);
    if (bag.hasErrors) wrong.add(item);
    // What refers to it has no end either.
    if (isEndless) break;
  }
  // While something is wrong, what is unused may only be unfinished.
  const unused = new DiagnosticBag();
  if (scope.diagnostics.length + imports.list.length + wrong.size === 0) lintNames(unused, scope.module, values);
  return dedupe([...found, ...unused.list]);
}

const SCOPE = needed(object("a scope, of `Workspace.open`", "module", "lookup", "isUnread"));
const OBSERVER = orNull(object("an observer: { value, name }, two functions", "value", "name"));

interface Checking {
  /** Of one declaration. */
  readonly bag: DiagnosticBag;
  readonly scope: Scope;
  readonly observer: Observer | null;
  /** Each `dim` of the file is read once. */
  readonly dims: Context["dims"];
}

/** Puts what is wrong with a declaration into the bag; true where reading it would not end. */
function checkWhole(checking: Checking, item: Item, values: Set<Member>): boolean {
  checkNames(checking.bag, item);
  if (checking.bag.list.length > 0) return false;
  try {
    for (const member of checkItem(checking, item)) values.add(member);
  } catch (error) {
    if (!(error instanceof MoeError)) throw error;
    for (const d of error.diagnostics) checking.bag.add(d);
    return error instanceof Endless;
  }
  return false;
}

/** Reads what is left of a damaged declaration; what is missing in it would be told at the wrong place. */
function look(checking: Checking, item: Item): void {
  try {
    checkItem(checking, item);
  } catch (error) {
    if (!(error instanceof MoeError)) throw error;
  }
}

/** Gives the members of a layer that are plain values. Throws a `MoeError` where no more can be said of the item. */
function checkItem(checking: Checking, item: Item): readonly Member[] {
  const { bag, scope } = checking;
  switch (item.kind) {
    case "layer":
      return checkLayer(checking, item);
    case "fn":
      checkFunction(checking, item);
      return [];
    case "config":
      checkConfig(checking, item);
      return [];
    case "map":
      checkMap(bag, scope, item);
      return [];
    case "mixture":
      checkMixture(bag, scope, item);
      return [];
    case "upcycle":
      checkUpcycle(bag, scope, item);
      return [];
    case "test":
      checkTests(contextOf(checking, "build"), scope, item);
      return [];
    case "dim":
      evaluateDim(staticEnv({ ...contextOf(checking, "check"), dims: checking.dims }, scope), item, scope);
      return [];
    default:
      return item satisfies never;
  }
}

function contextOf({ bag, observer }: Checking, mode: Context["mode"], purpose: Purpose = "evaluate"): Context {
  return newContext(mode, bag, purpose, undefined, observer);
}

function checkConfig(checking: Checking, item: ConfigDecl): void {
  const { bag, scope } = checking;
  const ctx = contextOf(checking, "build");
  const target = scope.lookup(item.model.text);
  if (target?.item.kind !== "layer") return reportUnknownModel(bag, scope, item.model);
  const callee = constructorOf(ctx, scope, target.item, item.fields);
  const instance =
    callee.kind === "constructor" ? instantiate(ctx, { ...callee, scope: target.scope }, "", [], item.name.span) : null;
  const program = instance === null ? null : tryBuildProgram(instance, ctx);
  if (program !== null) lintProgram(bag, program, item.name.span);
}

/**
 * A layer with symbolic sizes: as declared, once per boolean parameter flipped, and for every purpose that it mentions.
 * Gives the members that are plain values.
 */
function checkLayer(checking: Checking, decl: LayerDecl): readonly Member[] {
  const { bag, scope } = checking;
  if (decl.forward === null) return [];
  let values: readonly Member[] = [];
  const named = namesRead(decl);
  const readings: readonly (readonly [flip: string | null, Purpose])[] = [
    [null, "evaluate"],
    ...decl.params.flatMap((p) => (p.default?.kind === "bool" ? [[p.name.text, "evaluate"] as const] : [])),
    ...(named.has("training") ? [[null, "train"] as const] : []),
    ...(named.has("generating") ? [[null, "generate"] as const] : []),
  ];
  for (const [flip, purpose] of readings) {
    const ctx = contextOf(checking, "check", purpose);
    const bound = new Map<string, Value>();
    for (const param of decl.params) {
      const value = symbolicValue(ctx, scope, param, flip === param.name.text);
      if (value !== null) bound.set(param.name.text, value);
    }
    const shape = decl.keyword === "optimizer" ? { shape: symbolicShape(decl) } : {};
    const callee: ConstructorValue = { kind: "constructor", decl, scope, bound, ...shape };
    const instance = instantiate(ctx, callee, "", [], decl.name.span);
    const program = instance === null ? null : tryBuildProgram(instance, ctx);
    if (program !== null) lintProgram(bag, program, decl.name.span);
    if (program !== null && instance?.decl === decl && decl.keyword === "optimizer" && !ctx.bag.hasErrors)
      checkZeros(bag, decl, program, listParameters(instance));
    if (ctx.bag.hasErrors) return [];
    values = decl.members.filter(({ name }) => {
      const member = instance?.members.get(name.text);
      return member?.kind === "value" && member.value.kind !== "abstract" && member.value.kind !== "constructor";
    });
  }
  return values;
}

/** Names that expressions of a declaration read. */
function namesRead(decl: LayerDecl): ReadonlySet<string> {
  const found = new Set<string>();
  walk(decl, (node) => {
    if (node.kind === "name") found.add(node.name.text);
  });
  return found;
}

function symbolicValue(ctx: Context, scope: Scope, param: Param, flip: boolean): Value | null {
  const name = param.name.text;
  const role = param.type?.text;
  if (param.default === null && (role === "router" || role === "layer" || role === "model" || role === "optimizer"))
    return { kind: "abstract", role, args: [] };
  if (param.default === null) return { kind: "axis", label: name, size: Dim.of(name), origin: param.span };
  if (!flip) return null;
  const value = evaluate(staticEnv(ctx, scope), param.default);
  return value.kind === "bool" ? { kind: "bool", value: !value.value } : null;
}

/** A function on symbolic axes: its ports' `..` stand for nothing more. */
function checkFunction(checking: Checking, decl: FnDecl): void {
  const { scope } = checking;
  const ctx = contextOf(checking, "check");
  const locals = new Map<string, Value>();
  const env: Env = {
    ctx,
    scope,
    locals,
    instance: null,
    sink: [],
    pools: true,
    calls: [{ name: decl.name.text, span: decl.name.span }],
  };
  for (const axis of decl.axes)
    locals.set(axis.text, { kind: "axis", label: axis.text, size: Dim.of(axis.text), origin: axis.span });
  for (const port of decl.params) {
    if (port.type?.kind !== "tensor-type") {
      locals.set(
        port.name.text,
        port.default === null ? { kind: "number", value: 1, float: true, open: true } : evaluate(env, port.default),
      );
      continue;
    }
    for (const axis of port.type.axes) {
      const name = axis.kind === "axis" && axis.size.kind === "name" ? axis.size.name.text : null;
      if (name !== null && lookupName(env, name)?.kind !== "axis") {
        locals.set(name, { kind: "axis", label: name, size: Dim.of(name), origin: axis.span });
      }
    }
    const declared = declaredAxes(env, port.type);
    if (declared === null) return;
    const { axes } = declared;
    const dtype = (port.type.dtype?.text ?? "f32") as "f32" | "u32" | "i32" | "bool";
    locals.set(port.name.text, {
      kind: "tensor",
      node: ctx.builder.must("input", [], { name: port.name.text, type: { dtype, axes } }, port.span),
    });
  }
  finish(env, env, runBody(env, decl.body), decl.result, new Map(), decl.name.span, decl.name.text);
}

/** One message per code and place: the same line is read once per layer, test and configuration. */
function dedupe(list: readonly Diagnostic[]): readonly Diagnostic[] {
  const seen = new Set<string>();
  return list.filter((d) => {
    const at = d.labels[0]?.span;
    const key = `${d.code}@${at?.file.path}:${at?.start}:${at === undefined ? d.message : ""}`;
    return !seen.has(key) && seen.add(key) !== undefined;
  });
}
