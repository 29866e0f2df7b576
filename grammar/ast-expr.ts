/** The expressions of a `.moe` file: the part of the tree (`ast.ts`) that nothing else of it is needed for. */
import type { Span } from "./span.ts";

/** An identifier with its place. Primes belong to it: `D'` is another label of the same size as `D`. */
export interface Name {
  readonly text: string;
  readonly span: Span;
}

export type Expr =
  | NumberExpr
  | StringExpr
  | BoolExpr
  | NameExpr
  | ListExpr
  | UnaryExpr
  | BinaryExpr
  | IfExpr
  | MemberExpr
  | BracketExpr
  | CallExpr
  | ArrowExpr
  | OfExpr
  | RestExpr;

/** `float` is true when it was written with a point or an exponent. */
export interface NumberExpr {
  readonly kind: "number";
  readonly value: number;
  readonly float: boolean;
  readonly span: Span;
}
/** `value` has its escapes resolved. */
export interface StringExpr {
  readonly kind: "string";
  readonly value: string;
  readonly span: Span;
}
export interface BoolExpr {
  readonly kind: "bool";
  readonly value: boolean;
  readonly span: Span;
}
export interface NameExpr {
  readonly kind: "name";
  readonly name: Name;
  readonly span: Span;
}
/** `[G, R, C]` as an axis list, `[[1, 0], [0, 1]]` as data in tests. */
export interface ListExpr {
  readonly kind: "list";
  readonly items: readonly Expr[];
  readonly span: Span;
}
export interface UnaryExpr {
  readonly kind: "unary";
  readonly op: "-" | "not";
  readonly value: Expr;
  readonly span: Span;
}
export type BinaryOp = "+" | "-" | "*" | "/" | "%" | "==" | "!=" | "<" | "<=" | ">" | ">=" | "and" | "or" | "=>" | "??";
export interface BinaryExpr {
  readonly kind: "binary";
  readonly op: BinaryOp;
  readonly left: Expr;
  readonly right: Expr;
  readonly span: Span;
}
/** `if c then a else b`. */
export interface IfExpr {
  readonly kind: "if";
  readonly condition: Expr;
  readonly then: Expr;
  readonly else: Expr;
  readonly span: Span;
}
/** `b.attn`, `src[n].blocks`. */
export interface MemberExpr {
  readonly kind: "member";
  readonly object: Expr;
  readonly name: Name;
  readonly span: Span;
}
/** `softmax[N]`, `topk[N -> K]`, `x[I -> I']`, `src[n]`, `Llama[M]`: brackets on the same line as what they follow. */
export interface BracketExpr {
  readonly kind: "bracket";
  readonly object: Expr;
  readonly items: readonly Expr[];
  readonly span: Span;
}
/** `f(a, K: 2)`: the parenthesis on the same line as the callee. */
export interface CallExpr {
  readonly kind: "call";
  readonly callee: Expr;
  readonly args: readonly Arg[];
  readonly span: Span;
}
export interface Arg {
  readonly name: Name | null;
  readonly value: Expr;
  readonly span: Span;
}
/** `D -> F`, `D -> [G, R, C]`; only inside brackets and call arguments. */
export interface ArrowExpr {
  readonly kind: "arrow";
  readonly from: Expr;
  readonly to: Expr;
  readonly span: Span;
}
/** `N of SwiGLU(D, F)`. */
export interface OfExpr {
  readonly kind: "of";
  readonly count: Expr;
  readonly value: Expr;
  readonly span: Span;
}
/** `..` in `state[..]`: the axes of what an optimizer steps; only inside brackets. */
export interface RestExpr {
  readonly kind: "rest";
  readonly span: Span;
}
