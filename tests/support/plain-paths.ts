/** Paths and constants of a recipe in plain loops: what a path of a source or of the target leads to, what is known beforehand. */
import type { Upcycling, Value } from "../../compiler/index.ts";
import type { Expr } from "../../grammar/ast.ts";
import { textOf } from "../../grammar/span.ts";
import { walk } from "../../grammar/index.ts";
import { count, type Plain, type Wanted } from "./plain-arrays.ts";

export type Weights = ReadonlyMap<string, Float64Array>;
export type Constant = number | boolean | string | null | readonly Constant[];

export interface Scene {
  readonly upcycling: Upcycling;
  readonly weights: readonly Weights[];
  readonly constants: ReadonlyMap<string, Constant>;
  /** Names of counts, with the list that they count. */
  readonly lists: ReadonlyMap<string, string>;
  /** Which member of a list is meant. */
  readonly member: ReadonlyMap<string, number>;
}

export interface Step {
  readonly name: string;
  readonly index: Expr | null;
}

export function stepsOf(path: Expr): readonly Step[] {
  if (path.kind === "name") return [{ name: path.name.text, index: null }];
  if (path.kind === "member") return [...stepsOf(path.object), { name: path.name.text, index: null }];
  if (path.kind !== "bracket") throw new Error(`${textOf(path.span)} is no path`);
  const steps = stepsOf(path.object);
  return [...steps.slice(0, -1), { name: steps.at(-1)!.name, index: path.items[0]! }];
}

export function plainValue(value: Value): Constant {
  switch (value.kind) {
    case "axis":
      return value.size.value;
    case "number":
    case "bool":
    case "string":
      return value.value;
    case "list":
      return value.items.map(plainValue);
    default:
      return null;
  }
}

/** One scene for each model of a list, or for each value of the first index that nothing binds. */
export function membersOf(item: Expr, arg: Expr, scene: Scene): readonly Scene[] {
  const list = item.kind === "name" ? scene.lists.get(item.name.text) : undefined;
  if (list !== undefined)
    return scene.upcycling.sourceIndex
      .get(list)!
      .map((_, i) => ({ ...scene, member: new Map([...scene.member, [list, i]]) }));
  let open: { readonly steps: readonly Step[]; readonly at: number } | null = null;
  walk(arg, (node) => {
    if (open !== null || !("span" in node) || !isPath(node as Expr, scene)) return open === null;
    const steps = stepsOf(node as Expr);
    const at = steps.findIndex(({ index }) => index?.kind === "name" && !scene.constants.has(index.name.text));
    if (at >= 0) open = { steps, at };
    return false;
  });
  const { steps, at } = open!;
  const variable = (steps[at]!.index as Extract<Expr, { kind: "name" }>).name.text;
  const bind = (i: number): Scene => ({ ...scene, constants: new Map([...scene.constants, [variable, i]]) });
  const found: Scene[] = [];
  for (let i = 0; place(steps.slice(0, at + 1), bind(i)) !== null; i++) found.push(bind(i));
  return found;
}

export interface Place {
  readonly model: number;
  readonly path: string;
  readonly banks: readonly number[];
}

/** Where a path of a source, or of `self`, leads; null where nothing is there. */
export function place([root, ...steps]: readonly Step[], scene: Scene): Place | null {
  const { upcycling } = scene;
  const models = upcycling.sourceIndex.get(root!.name);
  const number =
    root!.index === null ? (scene.member.get(root!.name) ?? 0) : (constantOf(root!.index, scene) as number);
  const model = models?.[number] ?? -1;
  const { parameters } = models === undefined ? upcycling.target : upcycling.sources[model]!;
  let [path, banks]: [string, readonly number[]] = ["", []];
  const below = (start: string) => parameters.find((p) => p.path === start || p.path.startsWith(`${start}.`));
  for (const { name, index } of steps) {
    const own = path === "" ? name : `${path}.${name}`;
    const i = index === null ? null : (constantOf(index, scene) as number);
    if (i !== null && below(`${own}[${i}]`) !== undefined) path = `${own}[${i}]`;
    else if (i === null ? below(own) === undefined : i >= (below(own)?.axes[banks.length]?.size ?? 0)) return null;
    else [path, banks] = [own, i === null ? banks : [...banks, i]];
  }
  return { model, path, banks };
}

export function readSource(expr: Expr, scene: Scene, { relative, sizes, partial }: Wanted): Plain | null {
  const found = place(stepsOf(expr), scene);
  if (found === null) return null;
  const path = [found.path, relative].filter((part) => part !== "").join(".");
  const from = scene.upcycling.sources[found.model]!.parameters.find((p) => p.path === path);
  if (from === undefined) return null;
  const all = from.axes.map((a) => a.size);
  const own = all.slice(found.banks.length);
  const fits = own.length === sizes.length && own.every((n, i) => sizes[i] === null || sizes[i] === n);
  if (!fits && partial) return null;
  if (!fits) throw new Error(`${path} is [${own.join()}], wanted is [${sizes.join()}]`);
  const start = found.banks.reduce((n, at, i) => n * all[i]! + at, 0) * count(own);
  return { sizes: own, data: scene.weights[found.model]!.get(path)!.slice(start, start + count(own)) };
}

export const rootOf = (expr: Expr): string =>
  expr.kind === "name" ? expr.name.text : expr.kind === "member" || expr.kind === "bracket" ? rootOf(expr.object) : "";

export const isPath = (expr: Expr, scene: Scene): boolean => scene.upcycling.sourceIndex.has(rootOf(expr));

export function hasSource(expr: Expr, scene: Scene): boolean {
  let found = false;
  walk(expr, (node) => void (node.kind === "name" && "name" in node && isPath(node as Expr, scene) && (found = true)));
  return found || mentions(expr, "normal");
}

export function mentions(expr: Expr, name: string): boolean {
  let found = false;
  walk(expr, (node) => void (node.kind === "call" && textOf(node.callee.span) === name && (found = true)));
  return found;
}

export function holds(condition: Expr, scene: Scene): boolean {
  if (isPath(condition, scene) || rootOf(condition) === "self") return place(stepsOf(condition), scene) !== null;
  return constantOf(condition, scene) === true;
}

export function constantOf(expr: Expr, scene: Scene): Constant {
  switch (expr.kind) {
    case "number":
    case "string":
    case "bool":
      return expr.value;
    case "name":
      return scene.constants.get(expr.name.text) ?? null;
    case "bracket":
      return (constantOf(expr.object, scene) as readonly Constant[])[constantOf(expr.items[0]!, scene) as number]!;
    case "list":
      return expr.items.map((item) => constantOf(item, scene));
    case "if":
      return constantOf(holds(expr.condition, scene) ? expr.then : expr.else, scene);
    case "unary":
      return expr.op === "-" ? -(constantOf(expr.value, scene) as number) : constantOf(expr.value, scene) !== true;
    case "call": {
      const f = { floor: Math.floor, pow: Math.pow, sqrt: Math.sqrt, exp: Math.exp }[textOf(expr.callee.span)];
      if (f === undefined) throw new Error(`no plain meaning of ${textOf(expr.span)}`);
      return (f as (...xs: number[]) => number)(...expr.args.map((a) => constantOf(a.value, scene) as number));
    }
    case "binary": {
      const [x, y] = [constantOf(expr.left, scene), constantOf(expr.right, scene)] as [number, number];
      const found = { "+": x + y, "-": x - y, "*": x * y, "/": x / y, "%": x % y, "==": x === y, "!=": x !== y };
      const order = { "<": x < y, "<=": x <= y, ">": x > y, ">=": x >= y, and: x && y, or: x || y, "??": x ?? y };
      const value = { ...found, ...order, "=>": !x || y }[expr.op];
      return value;
    }
    default:
      throw new Error(`no plain meaning of ${textOf(expr.span)}`);
  }
}
