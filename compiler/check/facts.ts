/**
 * What an editor asks of a file: what is wrong with it, what each name stands for, what each expression is. Sizes are symbols, as in the
 * check itself, with where each came from. Limits: of a body that is expanded at many places, the reading of its own definition is kept,
 * at the defaults of its parameters; what no reading comes to, such as the other side of an `if`, has names and no values.
 */
import type { Expr, LayerDecl, Name } from "../../grammar/ast.ts";
import type { Diagnostic } from "../../grammar/diagnostic.ts";
import type { Env, Observer } from "../language/interpret/context.ts";
import { formatType } from "../graph/type.ts";
import { describeValue, type Value } from "../language/interpret/value.ts";
import type { Scope } from "../language/resolve/scope.ts";
import { checkModule } from "./check.ts";
import type { Use } from "./name-table.ts";
import { usesOf } from "./uses.ts";

/** What an expression was, in one reading. */
export interface Seen {
  readonly value: Value;
  /** The layer whose body or members it was read in, and the parameters of that layer; null in functions and outside of declarations. */
  readonly layer: LayerDecl | null;
  readonly parameters: ReadonlyMap<string, Value>;
  /** Whether it was read for its own definition, and not where another one uses that. */
  readonly isOwn: boolean;
}

export interface Facts {
  /** What `checkModule` says. */
  readonly diagnostics: readonly Diagnostic[];
  /** Every name, in the order of the text; what follows a point is known where an expression was read. */
  readonly uses: readonly Use[];
  /** By the expressions of the file's tree, `scope.module`. */
  readonly values: ReadonlyMap<Expr, Seen>;
}

/** Checks a file and keeps what is found on the way. Throws `option/*`. */
export function factsOf(scope: Scope): Facts {
  const values = new Map<Expr, Seen>();
  const names = new Map<Name, Name>();
  const observer: Observer = {
    value(env, expr, value) {
      if (expr.span.file !== scope.file) return;
      const before = values.get(expr);
      const isOwn = isOwnReading(env);
      if (before !== undefined && before.value.kind !== "error" && (before.isOwn || !isOwn)) return;
      if (before !== undefined && value.kind === "error") return;
      values.set(expr, {
        value,
        layer: env.instance?.decl ?? null,
        parameters: env.instance?.args ?? new Map(),
        isOwn,
      });
    },
    name(use, declared) {
      if (use.span.file === scope.file && !names.has(use)) names.set(use, declared);
    },
  };
  const diagnostics = checkModule(scope, observer);
  const uses = usesOf(scope).map((use): Use => {
    const name = use.declared === null ? names.get(use.name) : undefined;
    if (name === undefined) return use;
    return { ...use, declared: { kind: use.role === "step" ? "member" : "argument", name } };
  });
  return { diagnostics, uses, values };
}

/** With symbolic sizes, not within the expansion of another definition, nor while another's members are made. */
function isOwnReading({ ctx, calls, instance }: Env): boolean {
  return ctx.mode === "check" && calls.length <= 1 && ctx.nesting.every((decl) => decl === instance?.decl);
}

/** What a value is, on one line: `f32[T, D]`, `D`, `12`, `layer Linear`. */
export function describeType(value: Value): string {
  switch (value.kind) {
    case "tensor":
    case "routed":
      return formatType(value.node.type);
    case "axis":
      return value.label === null || value.label === value.size.key
        ? value.size.key
        : `${value.label}=${value.size.key}`;
    case "number":
      return value.open === true ? "a number" : String(value.value);
    case "bool":
      return String(value.value);
    case "string":
      return JSON.stringify(value.value);
    case "list":
    case "tuple":
      return `${value.kind === "list" ? "[" : ""}${value.items.map(describeType).join(", ")}${value.kind === "list" ? "]" : ""}`;
    case "route":
      return `sparse[${value.choice.name} of ${value.bank.name}]`;
    case "layer":
      return `${value.instance.decl.keyword} ${value.instance.decl.name.text}`;
    default:
      return describeValue(value);
  }
}
