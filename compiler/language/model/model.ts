/**
 * A whole model: an instance with known sizes, its program, and the list of its parameters by path. This is what the
 * back end compiles, what checkpoints are mapped to and what upcyclings produce.
 */
import type { Port, Type } from "../../../grammar/ast.ts";
import { DiagnosticBag, MoeError } from "../../../grammar/diagnostic.ts";
import { LIMITS } from "../../../grammar/limits.ts";
import type { Span } from "../../../grammar/span.ts";
import type { GraphFunction, Node, Output, Program } from "../../graph/node.ts";
import { Graph } from "../../graph/node.ts";
import { fillPath } from "../../graph/path.ts";
import { Builder } from "../../ops/builder.ts";
import type { Context, Env, Sink } from "../interpret/context.ts";
import { report } from "../interpret/context.ts";
import { declaredAxes } from "../interpret/axes.ts";
import { isPossible } from "../interpret/bounds.ts";
import { evaluate } from "../interpret/expression.ts";
import { expandLayer } from "../interpret/forward.ts";
import { instantiate } from "../interpret/instance.ts";
import type { ConstructorValue, Init, Instance, Value } from "../interpret/value.ts";
import type { DType, TensorType } from "../../graph/type.ts";
import { isStep } from "./step.ts";

/** One parameter with its full path and concrete axes, bank axes first. */
export interface ModelParameter {
  readonly path: string;
  readonly axes: readonly { readonly name: string; readonly size: number }[];
  readonly init: Init;
  /** A state: `update` changes it, an optimizer does not. */
  readonly state: boolean;
  readonly span: Span;
}

export interface Model {
  readonly name: string;
  readonly instance: Instance;
  readonly args: ReadonlyMap<string, Value>;
  readonly parameters: readonly ModelParameter[];
}

/** A fresh context in which instances are made and graphs built. */
export function newContext(
  mode: Context["mode"] = "build",
  bag = new DiagnosticBag(),
  purpose: Context["purpose"] = "evaluate",
  probes: Context["probes"] = new Set(),
  observer: Context["observer"] = null,
): Context {
  return {
    bag,
    builder: new Builder(new Graph()),
    mode,
    purpose,
    probes,
    functions: new Map(),
    meter: { steps: 0, depth: 0 },
    dims: new Map(),
    nesting: [],
    sites: new Map(),
    observer,
    walk: { evaluate, expandLayer },
  };
}

/** Makes a model from a constructor with all its parameters; throws the diagnostics when it does not fit together. */
export function makeModel(callee: ConstructorValue, span: Span): Model {
  const ctx = newContext();
  const instance = instantiate(ctx, callee, "", [], span);
  if (instance === null || ctx.bag.hasErrors) throw new MoeError(ctx.bag.list);
  return { name: callee.decl.name.text, instance, args: instance.args, parameters: listParameters(instance) };
}

/** Every parameter below an instance, layers of stacks one by one, in declaration order. */
export function listParameters(instance: Instance): readonly ModelParameter[] {
  const found: ModelParameter[] = [];
  const visit = (current: Instance, layers: ReadonlyMap<string, number>): void => {
    for (const member of current.members.values()) {
      if (member.kind === "parameter") {
        const { parameter } = member;
        if (found.length >= LIMITS.parameters) throw tooMany(instance);
        found.push({
          ...parameter,
          path: fillPath(parameter.path, layers),
          axes: parameter.axes.map((a) => ({ name: a.name, size: a.size.value ?? 0 })),
        });
      } else if (member.kind === "layer") visit(member.instance, layers);
      else if (member.kind === "stack") {
        for (const [i, template] of member.layers.entries()) visit(template, new Map([...layers, [template.path, i]]));
      }
    }
  };
  visit(instance, new Map());
  return found;
}

function tooMany({ decl }: Instance): MoeError {
  return new MoeError({
    code: "shape/too-large",
    severity: "error",
    message: `\`${decl.name.text}\` would have more than ${LIMITS.parameters} parameters, those of all its layers counted`,
    labels: [{ span: decl.name.span, text: "this model" }],
    notes: [],
    help: "choose a smaller number of layers",
  });
}

/** Builds the graph of an instance's forward over inputs of the declared types. Results are named `logits`, `logits1`... for a model, `out`... otherwise. */
export function buildProgram(
  instance: Instance,
  ctx: Context = newContext(),
  inputTypes?: ReadonlyMap<string, TensorType>,
): Program {
  const program = tryBuildProgram(instance, ctx, inputTypes);
  if (program === null || ctx.bag.hasErrors) throw new MoeError(ctx.bag.list);
  return program;
}

/** The same, collecting diagnostics in the context: null when there is nothing to show for it. */
export function tryBuildProgram(
  instance: Instance,
  ctx: Context,
  inputTypes?: ReadonlyMap<string, TensorType>,
): Program | null {
  const { forward, keyword } = instance.decl;
  if (forward === null) return null;
  const sink: Sink = [];
  const locals = new Map<string, Value>();
  const env: Env = { ctx, scope: instance.scope, locals, instance: null, sink, pools: false, calls: [] };
  const typing: Env = { ...env, locals: new Map(instance.args), instance };
  const inputs: Node<"input">[] = [];
  for (const port of forward.params) {
    const type = inputTypes?.get(port.name.text) ?? declaredType(typing, port);
    if (type === null || !type.axes.every((axis) => isPossible(typing, axis, `\`${port.name.text}\``, port.span)))
      return null;
    const node = ctx.builder.must("input", [], { name: port.name.text, type }, port.span);
    inputs.push(node);
    locals.set(port.name.text, { kind: "tensor", node });
  }
  const args = forward.params.map((p) => ({
    name: null,
    value: { kind: "name" as const, name: p.name, span: p.span },
    span: p.span,
  }));
  const value = expandLayer(env, instance, args, instance.span);
  if (value.kind === "error") return null;
  const base = keyword === "model" ? "logits" : "out";
  const outputs: Output[] = [
    ...resultOutputs(value, base).map((o, i) => ({ ...o, node: inDeclaredOrder(typing, o.node, forward.result[i]) })),
    ...sink,
  ];
  const stepped = keyword === "optimizer" ? inputs.find((i) => i.attrs.name === "w") : undefined;
  if (stepped !== undefined && !isStep(env, instance, listParameters(instance), outputs, stepped.type)) return null;
  const main: GraphFunction = { name: instance.decl.name.text, inputs, outputs };
  return { main, functions: new Map([...ctx.functions.values()].map((f) => [f.name, f])) };
}

/** Null after reporting what is no type of a tensor. */
function declaredType(env: Env, port: Port): TensorType | null {
  if (port.type?.kind === "tensor-type") {
    const declared = declaredAxes(env, port.type);
    const rest = declared?.rest === true ? (env.instance?.rest ?? []) : [];
    return declared && { dtype: (port.type.dtype?.text ?? "f32") as DType, axes: [...rest, ...declared.axes] };
  }
  report(env, "type/not-a-tensor", "a model's inputs are tensors with declared axes", port.span, "declared here");
  return null;
}

/** Axes in the order of the declared type, so that what a caller reads is laid out as it was written. */
function inDeclaredOrder(env: Env, node: Node, type: Type | undefined): Node {
  if (type?.kind !== "tensor-type") return node;
  const found = declaredAxes({ ...env, ctx: { ...env.ctx, bag: new DiagnosticBag() } }, type);
  const declared = found?.axes.map((a) => a.name) ?? [];
  const order = [
    ...node.type.axes.map((a) => a.name).filter((n) => !declared.includes(n)),
    ...declared.filter((n) => node.type.axes.some((a) => a.name === n)),
  ];
  return order.every((n, i) => node.type.axes[i]?.name === n)
    ? node
    : env.ctx.builder.must("transpose", [node], { order }, node.origin);
}

function resultOutputs(value: Value, base: string): Output[] {
  const items = value.kind === "tuple" ? value.items : [value];
  return items.flatMap((item, i): Output[] => {
    const name = i === 0 ? base : `${base}${i}`;
    if (item.kind === "tensor" || item.kind === "routed") return [{ name, role: "result", node: item.node }];
    if (item.kind === "route")
      return [
        { name: "index", role: "result", node: item.index },
        { name: "weight", role: "result", node: item.weight },
      ];
    return [];
  });
}
