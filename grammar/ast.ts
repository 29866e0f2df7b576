/**
 * The tree of a `.moe` file. Readonly unions discriminated by `kind`; every node has its `span`. The tree says what was
 * written, nothing more: whether a name is a layer, a size or an axis is decided by `compiler/resolve`.
 */
import type { Arg, Expr, Name, StringExpr } from "./ast-expr.ts";
import type { Span } from "./span.ts";

export type * from "./ast-expr.ts";

export interface Module {
  readonly kind: "module";
  readonly span: Span;
  readonly edition: number | null;
  readonly imports: readonly Import[];
  readonly items: readonly Item[];
}

/** `import { Linear, rope as rotary } from "std"` or `from "./router.moe"`. */
export interface Import {
  readonly kind: "import";
  readonly span: Span;
  readonly names: readonly { readonly name: Name; readonly alias: Name | null }[];
  readonly from: string;
  readonly fromSpan: Span;
}

export type Item = DimDecl | FnDecl | LayerDecl | ConfigDecl | MapDecl | MixtureDecl | UpcycleDecl | TestDecl;

interface ItemBase {
  readonly span: Span;
  /** The `///` lines above the item, joined by line breaks, without the slashes. */
  readonly doc: string | null;
}

/** `dim H = 128`: a named axis with a fixed size, visible in the whole file. */
export interface DimDecl extends ItemBase {
  readonly kind: "dim";
  readonly name: Name;
  readonly size: Expr;
}

/** `fn silu(x: [..]) -> [..] = x * sigmoid(x)`; `fn softmax[N](z: [.., N]) -> [.., N] { ... }` takes axes in brackets. */
export interface FnDecl extends ItemBase {
  readonly kind: "fn";
  readonly name: Name;
  /** Axis parameters in brackets: `[N]`, or `[N -> K]`, written as two axes. */
  readonly axes: readonly Name[];
  readonly params: readonly Port[];
  readonly result: readonly Type[];
  readonly where: readonly Expr[];
  readonly body: Body;
}

/** `layer`, `router`, `model` and `optimizer` are one construct with four keywords. */
export interface LayerDecl extends ItemBase {
  readonly kind: "layer";
  readonly keyword: "layer" | "router" | "model" | "optimizer";
  readonly name: Name;
  readonly params: readonly Param[];
  /** Of an optimizer that names axes of what it steps; all others are elementwise, as by `for [..]`. */
  readonly shape: Shape | null;
  readonly where: readonly Expr[];
  readonly members: readonly Member[];
  /** An optimizer's is called `step`. Null only after a parse error. */
  readonly forward: Forward | null;
}

/** `for [.., A, B] else rest`: the axes that an optimizer knows of what it steps, and the optimizer of what has fewer. */
export interface Shape {
  readonly axes: readonly AxisExpr[];
  readonly otherwise: Expr | null;
  readonly span: Span;
}

/** A compile-time parameter: `D`, `R: router`, `theta = 10000.0`; `I -> O` in a header is two parameters joined by `arrow`. */
export interface Param {
  readonly name: Name;
  /** `router`, `layer`, `model`, `optimizer`, `bool`, `int`, `float`, `string`; null means a size. */
  readonly type: Name | null;
  readonly default: Expr | null;
  /** True on `O` in `layer Linear(I -> O)`: the argument is written `A -> B` too. */
  readonly arrow: boolean;
  readonly span: Span;
}

/** `gate = Linear(D -> F)`, `experts = N of SwiGLU(D, F)`, `b = param[O](zeros) if bias`. */
export interface Member {
  readonly name: Name;
  /** `l` of `blocks[l] = L of Block(...)`: the layer's number, in scope of its constructor. */
  readonly index: Name | null;
  readonly value: Expr;
  /** `if` condition: without it the member always exists. */
  readonly condition: Expr | null;
  readonly doc: string | null;
  readonly span: Span;
}

export interface Forward {
  readonly params: readonly Port[];
  readonly result: readonly Type[];
  readonly body: Body;
  readonly span: Span;
}

/** A runtime argument: `x: [T, D]`; in `fn` also a compile-time one, `theta = 10000.0` or `causal: bool = true`. */
export interface Port {
  readonly name: Name;
  readonly type: Type | null;
  readonly default: Expr | null;
  readonly span: Span;
}

/** `= expr` is a body of one return statement. */
export interface Body {
  readonly statements: readonly Statement[];
  readonly span: Span;
}

export type Type = TensorType | RouteType | NamedType;

/** `[T, D]`, `f32[T, V]`, `u32[T]`. */
export interface TensorType {
  readonly kind: "tensor-type";
  readonly dtype: Name | null;
  readonly axes: readonly AxisExpr[];
  readonly span: Span;
}

/** `sparse[T, K of N]`, `sparse[Z of T, N]`, `dense[T, N]`. */
export interface RouteType {
  readonly kind: "route-type";
  readonly form: "sparse" | "dense";
  readonly axes: readonly { readonly axis: Expr; readonly of: Expr | null }[];
  readonly span: Span;
}

/** `bool`, `float`, `f32`: a scalar or compile-time type. */
export interface NamedType {
  readonly kind: "named-type";
  readonly name: Name;
  readonly span: Span;
}

/** One axis of a type: `..` (any further axes), `D`, `I'`, `h: 2 * D` (label and size), or a product `G*R*C` in `as`. */
export type AxisExpr =
  | { readonly kind: "rest"; readonly span: Span }
  | { readonly kind: "axis"; readonly label: Name | null; readonly size: Expr; readonly span: Span };

export type Statement =
  | { readonly kind: "let"; readonly names: readonly Name[]; readonly value: Expr; readonly span: Span }
  | { readonly kind: "return"; readonly values: readonly Expr[]; readonly span: Span }
  | { readonly kind: "loss"; readonly value: Expr; readonly span: Span }
  | { readonly kind: "metric"; readonly name: Name; readonly value: Expr; readonly span: Span }
  /** `update bias = bias + ...`: what a state of the layer is after an optimizer step. */
  | { readonly kind: "update"; readonly name: Name; readonly value: Expr; readonly span: Span }
  | {
      readonly kind: "for";
      readonly variable: Name;
      readonly over: Expr;
      readonly body: readonly Statement[];
      readonly span: Span;
    }
  | {
      readonly kind: "if";
      readonly condition: Expr;
      readonly then: readonly Statement[];
      readonly else: readonly Statement[];
      readonly span: Span;
    };

/** `config tiny: Mixtral { V: 96  L: 2 }`: named arguments for a model. */
export interface ConfigDecl extends ItemBase {
  readonly kind: "config";
  readonly name: Name;
  readonly model: Name;
  readonly fields: readonly { readonly name: Name; readonly value: Expr; readonly span: Span }[];
}

/** `map hf: Mixtral { config { ... }  rules }`. */
export interface MapDecl extends ItemBase {
  readonly kind: "map";
  readonly name: Name;
  readonly model: Name;
  readonly config: readonly ConfigRule[];
  /** `either rope_scaling or rope_parameters`: names of one object, read whole under the first that is there and not empty. */
  readonly objects: readonly { readonly names: readonly (readonly Name[])[]; readonly span: Span }[];
  /** `ignore attn_config.attn_pdrop`: keys of objects that change nothing here. */
  readonly ignored: readonly { readonly key: readonly Name[]; readonly span: Span }[];
  readonly rules: readonly MapRule[];
}

/**
 * `G * R <-> num_attention_heads`, `theta <-> rope_parameters.rope_theta | rope_theta = 10000.0`, `"silu" <-> hidden_act`.
 * `left` is an expression in the model's parameters, solvable for the one that is not yet known; `keys` are alternatives,
 * read in order and all written; `default` (over config keys, by their names) stands in for a missing or null key.
 * `rotary <-> map rope_scaling` has a map instead of keys: its rules give the parameters of the layer that `left` is.
 * `member <-> map of model` has one key, whose object is the config of a model that the map of its own family reads.
 */
export interface ConfigRule {
  readonly left: Expr;
  readonly keys: readonly (readonly Name[])[];
  readonly map: Name | null;
  readonly isModel: boolean;
  /** `["LlamaForCausalLM"] -> architectures`: what is written there and never read. */
  readonly isWritten: boolean;
  readonly default: Expr | null;
  readonly span: Span;
}

export type MapRule =
  /**
   * `a.w <-> "name" as [...]`, with rules relative to both sides in braces; several sources `{ a, b }` are concatenated.
   * `models[n] <-> map "name"`: a model, by the rules of its own family's map.
   */
  | {
      readonly kind: "pair";
      readonly left: readonly Expr[];
      readonly pattern: StringExpr;
      readonly layout: readonly AxisExpr[] | null;
      readonly rules: readonly MapRule[] | null;
      readonly isModel: boolean;
      readonly condition: Expr | null;
      readonly span: Span;
    }
  /** `either { ... } or { ... }`: the first alternative whose tensors are present is read; the first is written. */
  | { readonly kind: "either"; readonly alternatives: readonly (readonly MapRule[])[]; readonly span: Span }
  /**
   * `ignore "cache"`: a source tensor that is allowed and not read. `ignore "lm_head.weight" = embed.w else tie = false`: while it
   * holds what that parameter does; where it does not, the model is another.
   */
  | {
      readonly kind: "ignore";
      readonly pattern: StringExpr;
      readonly same: Expr | null;
      readonly otherwise: { readonly name: Name; readonly value: Expr } | null;
      readonly span: Span;
    }
  /** `stored fp8("*", "*_scale_inv")`: the tensors of the rules beside it may be stored in this encoding, in parts of these names. */
  | { readonly kind: "stored"; readonly encoding: Name; readonly patterns: readonly StringExpr[]; readonly span: Span };

/**
 * `mixture Qwen2MoE(W: F) of Qwen2(F: F + S) { blocks[l].ffn.gate.w = zeros }`: what the mixture of a dense family is. Arguments
 * of the mixture are in the dense model's parameters, those of the dense model in the mixture's; rules say what parameters begin as
 * that an upcycling does not give.
 */
export interface MixtureDecl extends ItemBase {
  readonly kind: "mixture";
  readonly model: Name;
  readonly args: readonly Arg[];
  readonly of: Name;
  readonly ofArgs: readonly Arg[];
  readonly rules: readonly UpcycleRule[];
}

/** `upcycle btx(src: Llama[M], K = 2) -> Mixtral(N: M, K: K) where M > 1 { rules  ensures ... }`. */
export interface UpcycleDecl extends ItemBase {
  readonly kind: "upcycle";
  readonly name: Name;
  /** Sources (`src: Llama[M]`, `base: Llama`) and compile-time parameters (`K = 2`). */
  readonly params: readonly UpcycleParam[];
  /** A model, or with `targetOf` a relation to a source: `mixture of src`. */
  readonly target: Name;
  readonly targetOf: Name | null;
  readonly targetArgs: readonly Arg[];
  readonly where: readonly Expr[];
  readonly rules: readonly UpcycleRule[];
  readonly ensures: readonly Expr[];
}

export interface UpcycleParam {
  readonly name: Name;
  /** The source's model (`model`: any), with its count when it is a list: `Llama[M]`. Null for a compile-time parameter. */
  readonly source: { readonly model: Name; readonly count: Name | null } | null;
  readonly default: Expr | null;
  readonly span: Span;
}

export type UpcycleRule =
  /** `ignore src.blocks[l].ffn.pick`: what is in a source and not used. */
  | { readonly kind: "ignore"; readonly path: Expr; readonly span: Span }
  | { readonly kind: "default"; readonly value: Expr; readonly span: Span }
  /** `experts[n] = src[n].blocks[l].mlp`; the left side is a path, its brackets bind index variables. */
  | { readonly kind: "assign"; readonly path: Expr; readonly value: Expr; readonly span: Span }
  /** `blocks[l].ffn { ... }`: rules relative to a path. */
  | { readonly kind: "scope"; readonly path: Expr; readonly rules: readonly UpcycleRule[]; readonly span: Span };

/** `test "ties break low" for TopK(D: 2, N: 2, K: 1) { score.w = [...]  x = [...]  expect index == [[0]] }`. */
export interface TestDecl extends ItemBase {
  readonly kind: "test";
  readonly title: string;
  readonly subject: Expr;
  readonly statements: readonly TestStatement[];
}

export type TestStatement =
  /** A parameter path, an input or a local name. */
  | { readonly kind: "set"; readonly path: Expr; readonly value: Expr; readonly span: Span }
  | { readonly kind: "expect"; readonly value: Expr; readonly span: Span };
