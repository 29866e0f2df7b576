/**
 * What an optimizer makes of one parameter, as a program: from the parameter, its gradient and what is remembered to the same after the step.
 * What depends on the step's numbers alone, the learning rate and corrections such as 1 - beta^t, is split off as numbers that the host
 * computes in float64. An elementwise optimizer is a program over one axis, of whatever elements a parameter lies in, padding included; one that
 * names axes is over the parameter's own.
 */
import type { Expr } from "../../grammar/ast.ts";
import { MoeError } from "../../grammar/diagnostic.ts";
import type { Span } from "../../grammar/span.ts";
import type { Node, Output, Program } from "../graph/node.ts";
import { isOp } from "../graph/node.ts";
import { rewriteNodes, topologicalOrder } from "../graph/traverse.ts";
import { type Axis, formatType } from "../graph/type.ts";
import { toNode } from "../language/interpret/arithmetic.ts";
import { type Context, type Env, evaluate, report } from "../language/interpret/context.ts";
import { instantiate } from "../language/interpret/instance.ts";
import { ELEMENT, isElementwise } from "../language/interpret/shape.ts";
import type { ConstructorValue, Init, Value } from "../language/interpret/value.ts";
import { listParameters, newContext, tryBuildProgram } from "../language/model/model.ts";
import type { Scope } from "../language/resolve/scope.ts";
import type { Builder } from "../ops/builder.ts";
import { inlineAll } from "../passes/simplify/inline.ts";
import { splitNumbers } from "../passes/tabulate/host-numbers.ts";
import { scalarOf } from "../passes/tabulate/scalar.ts";
import type { HostScalar } from "../plan/plan.ts";
import type { ScalarExpr } from "../plan/scalar.ts";

/** A program for a parameter, or for all parameters that are stepped alike. */
export interface OptimizerRule {
  /**
   * Inputs f32: `w`, `g`, and states by name, over `element` where the rule is elementwise, else over the parameter's axes. Outputs: `w`, and
   * `after.` with each of the names that change. A parameter f32 [] of the program is the host scalar of its path, or `scale`, which gradients are multiplied with.
   */
  readonly program: Program;
  readonly isElementwise: boolean;
  readonly states: readonly { readonly name: string; readonly initial: number }[];
  /** Those of the program; what is the same number has the same id in all programs. */
  readonly scalars: readonly HostScalar[];
}

/** The learning rate as an expression of `t`, the number of the step, and `steps`, how many there are; also of `rate`, what it is `within`. */
export interface Rate {
  readonly expr: Expr;
  readonly scope: Scope;
  readonly within: Rate | null;
  /** Other names that it may use. */
  readonly locals: ReadonlyMap<string, Value>;
}

/** What gradients are multiplied with before a step, such as by clipping: a parameter f32 [] of every program. */
export const SCALE = "scale";

/** What an expression of the language calls the host's numbers. */
const HOST = new Map<string, ScalarExpr>([
  ["t", "step"],
  ["steps", "steps"],
]);

/** The optimizer that takes a tensor of these axes (`for ... else`), with all its parameters. Throws a `MoeError` with what is wrong with it. */
export function optimizerFor(optimizer: ConstructorValue, axes: readonly Axis[], at: Span): ConstructorValue {
  const ctx = newContext();
  const instance = instantiate(ctx, { ...optimizer, shape: axes }, "", [], at);
  if (instance === null || ctx.bag.hasErrors) throw new MoeError(ctx.bag.list);
  const { decl, scope, args } = instance;
  const names = new Set(decl.params.map((p) => p.name.text));
  return { kind: "constructor", decl, scope, bound: new Map([...args].filter(([name]) => names.has(name))) };
}

/** `optimizer` is one that takes tensors of these axes. Throws a `MoeError` with what is wrong with it or the rate. */
export function buildOptimizer(
  optimizer: ConstructorValue,
  axes: readonly Axis[],
  rate: Rate,
  at: Span,
): OptimizerRule {
  const ctx = newContext();
  const shape = isElementwise(optimizer.decl) ? [ELEMENT] : axes;
  const instance = instantiate(ctx, { ...optimizer, shape }, "", [], at);
  const program = instance === null ? null : tryBuildProgram(instance, ctx);
  const number = rateNode(ctx, rate);
  if (instance === null || program === null || number === null || ctx.bag.hasErrors) throw new MoeError(ctx.bag.list);
  const states = listParameters(instance).map(({ path, init }) => ({ name: path, initial: startOf(init) }));
  const { builder } = ctx;
  const { main } = inlineAll(program, builder);
  const order = shape.map((axis) => axis.name);
  const bound = bindInputs(main.outputs, number, builder).map((o) =>
    o.role === "result" ? { ...o, node: builder.transpose(o.node, order) } : o,
  );
  const { outputs, scalars } = splitNumbers(bound, HOST, builder);
  const inputs = topologicalOrder(outputs.map((o) => o.node)).filter((n) => isOp(n, "input"));
  return {
    program: { main: { name: optimizer.decl.name.text, inputs, outputs }, functions: new Map() },
    isElementwise: isElementwise(instance.decl),
    states,
    scalars,
  };
}

/** The rate in the graph of a context, over inputs `t` and `steps`; null after reporting what it is instead of a number. */
function rateNode(ctx: Context, { expr, scope, within, locals: own }: Rate): Node | null {
  const outer = within === null ? null : rateNode(ctx, within);
  if (within !== null && outer === null) return null;
  const locals = new Map(own);
  for (const name of HOST.keys())
    locals.set(name, {
      kind: "tensor",
      node: ctx.builder.must("input", [], { name, type: { dtype: "f32", axes: [] } }, expr.span),
    });
  if (outer !== null) locals.set("rate", { kind: "tensor", node: outer });
  const env: Env = { ctx, scope, locals, instance: null, sink: [], pools: false, calls: [] };
  const value = evaluate(env, expr);
  const node = value.kind === "error" ? null : toNode(env, value, null, expr.span);
  if (node === null || formatType(node.type) === "f32[]") return node;
  const told = `a learning rate is one number f32[], and this is ${formatType(node.type)}`;
  report(env, "type/parameter-kind", told, expr.span, "given here", "give a number, or a function of `t` and `steps`");
  return null;
}

/** The rate as a number of the host. Throws a `MoeError` with what is wrong with it. */
export function rateOfStep(rate: Rate): ScalarExpr {
  const ctx = newContext();
  const node = rateNode(ctx, rate);
  if (node === null || ctx.bag.hasErrors) throw new MoeError(ctx.bag.list);
  return scalarOf(node, HOST);
}

/** Results by the names that a step has; states are inputs, and gradients are scaled. */
function bindInputs(outputs: readonly Output[], rate: Node, b: Builder): readonly Output[] {
  const scale = b.must("param", [], { path: SCALE, type: { dtype: "f32", axes: [] } });
  const images = rewriteNodes(
    outputs.map((o) => o.node),
    (node, inputs) => {
      if (isOp(node, "param")) return b.must("input", [], { name: node.attrs.path, type: node.type }, node.origin);
      if (!isOp(node, "input")) return b.must(node.op, inputs, node.attrs, node.origin);
      if (node.attrs.name === "rate") return rate;
      return node.attrs.name === "g" ? b.times(node, scale) : node;
    },
  );
  return outputs.map((o, i) => ({ ...o, name: o.role === "result" ? "w" : o.name, node: images[i]! }));
}

/** What every element of a state is before the first step. */
function startOf(init: Init): number {
  return init.kind === "constant" ? init.value : init.kind === "ones" ? 1 : 0;
}
