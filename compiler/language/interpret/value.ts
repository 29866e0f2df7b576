/**
 * What an expression of the language can be. Compile-time values and tensors live side by side: the same walk that reads
 * configuration builds graph nodes, so every typing rule exists once, in the op table.
 */
import type { FnDecl, LayerDecl } from "../../../grammar/ast.ts";
import type { Span } from "../../../grammar/span.ts";
import type { Pool } from "../../graph/attrs.ts";
import type { Dim } from "../../graph/dim.ts";
import type { Node } from "../../graph/node.ts";
import type { Axis } from "../../graph/type.ts";
import type { Scope } from "../resolve/scope.ts";

export type Value =
  | NumberValue
  | AxisValue
  | { readonly kind: "bool"; readonly value: boolean }
  | { readonly kind: "string"; readonly value: string }
  | { readonly kind: "none" }
  /** A bare word that a builtin understands, e.g. `causal`. */
  | { readonly kind: "flag"; readonly name: string }
  | ListValue
  | { readonly kind: "tensor"; readonly node: Node }
  | RouteValue
  | RoutedValue
  | ConstructorValue
  | LayerValue
  | { readonly kind: "fn"; readonly decl: FnDecl; readonly scope: Scope }
  | { readonly kind: "builtin"; readonly name: string }
  | { readonly kind: "init"; readonly init: Init }
  /** Sequences to reduce over: `batch`, `global`. */
  | { readonly kind: "pool"; readonly scope: Pool }
  /** Several results of one call. */
  | { readonly kind: "tuple"; readonly items: readonly Value[] }
  /** A parameter of type `router`, `layer`, `model` or `optimizer` while a definition is checked on its own: any of them. A router's member is its logits'. */
  | {
      readonly kind: "abstract";
      readonly role: "router" | "layer" | "model" | "optimizer" | "router's member";
      readonly args: readonly Value[];
    }
  /** Something that was already reported. */
  | { readonly kind: "error" };

export interface NumberValue {
  readonly kind: "number";
  readonly value: number;
  readonly float: boolean;
  /** Computed from a size that is not known yet, so comparisons with it are open. */
  readonly open?: boolean;
  /** The exact size that it was computed as, while that is not known. */
  readonly dim?: Dim;
}

/** A size, and a label when it names an axis. Sizes that are numbers stay `Dim`s so that their origin is kept. */
export interface AxisValue {
  readonly kind: "axis";
  readonly label: string | null;
  readonly size: Dim;
  readonly origin: Span | null;
}

export interface ListValue {
  readonly kind: "list";
  readonly items: readonly Value[];
}

/**
 * Token choice: per token K of N banks, with weights. `index` u32 [T, K], `weight` f32 [T, K]. Or expert choice: the bank is
 * time, and per expert Z of T tokens are chosen. `index` u32 [N, Z], `weight` f32 [N, Z].
 */
export interface RouteValue {
  readonly kind: "route";
  readonly bank: Axis;
  readonly choice: Axis;
  readonly index: Node;
  readonly weight: Node;
}

/** `route * x` before it is summed over the bank axis: `node` has the axes of the index in its place. */
export interface RoutedValue {
  readonly kind: "routed";
  readonly bank: Axis;
  readonly choice: Axis;
  readonly index: Node;
  readonly node: Node;
}

/** A layer, router, model or optimizer that is not applied to all its parameters yet. */
export interface ConstructorValue {
  readonly kind: "constructor";
  readonly decl: LayerDecl;
  readonly scope: Scope;
  readonly bound: ReadonlyMap<string, Value>;
  /** Where each parameter was given, for messages. */
  readonly places?: ReadonlyMap<string, Span>;
  /** Of an optimizer, the axes of the tensor that it is made for. */
  readonly shape?: readonly Axis[];
}

/** An instance, or several: `bank` axes are stacked into its parameters, a `stack` is run layer by layer in a `for`. */
export interface LayerValue {
  readonly kind: "layer";
  readonly instance: Instance;
}

export interface Instance {
  readonly decl: LayerDecl;
  readonly scope: Scope;
  /** Path from the model, e.g. `blocks[#].ffn.experts` (holes: `graph/path.ts`); empty for the model itself. */
  readonly path: string;
  readonly args: ReadonlyMap<string, Value>;
  readonly members: ReadonlyMap<string, InstanceMember>;
  /** Axes that enclosing `N of` declarations put in front of every parameter. */
  readonly banks: readonly Axis[];
  /** Own axis label -> the caller's, where one label was given to two parameters: `Linear(D -> D)` has `O` for its second `D`. */
  readonly outer: ReadonlyMap<string, string>;
  /** What `..` in brackets stands for: in an optimizer, the axes of its tensor that it does not name. Null where it stands for nothing. */
  readonly rest: readonly Axis[] | null;
  readonly span: Span;
}

export type InstanceMember =
  | { readonly kind: "parameter"; readonly parameter: ParameterInfo }
  | { readonly kind: "layer"; readonly instance: Instance }
  | StackMember
  | { readonly kind: "value"; readonly value: Value }
  /** Its `if` was false. */
  | { readonly kind: "absent"; readonly condition: Span };

/**
 * `L of Block(...)` that a `for` runs over. Layers made with the same arguments are one template, whose paths have a hole
 * for the layer's number. A stack of unknown length (in a definition on its own) has one entry that stands for all.
 */
export interface StackMember {
  readonly kind: "stack";
  readonly count: AxisValue;
  /** The template of every layer. */
  readonly layers: readonly Instance[];
}

export interface ParameterInfo {
  readonly path: string;
  /** Bank axes first. */
  readonly axes: readonly Axis[];
  readonly init: Init;
  /** Changed by an `update` after each step, and by no gradient. */
  readonly state: boolean;
  readonly span: Span;
}

/** How a parameter starts when nothing is loaded into it. */
export type Init =
  | { readonly kind: "zeros" }
  | { readonly kind: "ones" }
  | { readonly kind: "constant"; readonly value: number }
  | { readonly kind: "normal"; readonly std: number; readonly seed: number | null }
  | { readonly kind: "uniform"; readonly bound: number; readonly seed: number | null };

/** Whether two compile-time values make the same layer. */
export function sameValue(a: Value, b: Value): boolean {
  if (a === b) return true;
  if (a.kind === "axis") return b.kind === "axis" && a.label === b.label && a.size.equals(b.size);
  if (a.kind === "number") return b.kind === "number" && a.value === b.value && a.float === b.float;
  if (a.kind === "list")
    return b.kind === "list" && a.items.length === b.items.length && a.items.every((x, i) => sameValue(x, b.items[i]!));
  if (a.kind === "constructor")
    return (
      b.kind === "constructor" &&
      a.decl === b.decl &&
      a.bound.size === b.bound.size &&
      [...a.bound].every(([name, x]) => {
        const y = b.bound.get(name);
        return y !== undefined && sameValue(x, y);
      })
    );
  if (a.kind === "fn") return b.kind === "fn" && a.decl === b.decl;
  return a.kind === b.kind && "value" in a && "value" in b
    ? a.value === b.value
    : a.kind === "none" && b.kind === "none";
}

export const ERROR: Value = { kind: "error" };

/** What a value is, for messages: "a tensor", "a size". */
export function describeValue(value: Value): string {
  switch (value.kind) {
    case "number":
      return value.float ? "a number" : "an integer";
    case "axis":
      return value.label === null ? "a size" : `the axis \`${value.label}\``;
    case "bool":
      return "a truth value";
    case "string":
      return "a string";
    case "none":
      return "`none`";
    case "flag":
      return `the flag \`${value.name}\``;
    case "list":
      return "a list";
    case "tensor":
      return "a tensor";
    case "route":
      return "a route";
    case "routed":
      return "a routed tensor (sum it over its bank axis first)";
    case "constructor":
      return `the ${value.decl.keyword} \`${value.decl.name.text}\``;
    case "layer":
      return `an instance of \`${value.instance.decl.name.text}\``;
    case "fn":
      return `the function \`${value.decl.name.text}\``;
    case "builtin":
      return `the function \`${value.name}\``;
    case "init":
      return "an initialiser";
    case "pool":
      return `the sequences \`${value.scope}\``;
    case "tuple":
      return `${value.items.length} values`;
    case "abstract":
      return `a ${value.role}`;
    case "error":
      return "nothing";
  }
}
