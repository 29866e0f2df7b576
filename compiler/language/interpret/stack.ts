/**
 * Layers of a stack: `for b in blocks { x = b(x) }`. The template is built once as a graph function whose parameters have
 * `#` in their paths; each layer is one `call` node. So kernels, and the time to compile them, do not grow with depth.
 */
import type { Arg } from "../../../grammar/ast.ts";
import type { Span } from "../../../grammar/span.ts";
import type { GraphFunction, Node, Output } from "../../graph/node.ts";
import { layerPath } from "../../graph/path.ts";
import { formatType } from "../../graph/type.ts";
import { toNode } from "./arithmetic.ts";
import type { Env, Sink } from "./context.ts";
import { evaluate, expandLayer, report, STACKED } from "./context.ts";
import type { Instance, Value } from "./value.ts";
import { ERROR } from "./value.ts";
import { nameOutside } from "./update.ts";

export function callStacked(env: Env, instance: Instance, args: readonly Arg[], span: Span): Value {
  const index = env.locals.get(STACKED + instance.path);
  if (index?.kind !== "number") return ERROR;
  if (env.kept != null)
    return report(
      env,
      "time/within",
      "layers of a stack see all tokens, and here only some of them are there",
      span,
      "inside of `within`",
      "put `within` into the layer that the `for` runs over",
    );
  const nodes: Node[] = [];
  for (const arg of args) {
    const value = evaluate(env, arg.value);
    const node = value.kind === "error" ? null : toNode(env, value, null, arg.span);
    if (node === null) return ERROR;
    nodes.push(node);
  }
  const key = `${instance.path}(${nodes.map((n) => formatType(n.type)).join(", ")})`;
  let fn = env.ctx.functions.get(key);
  if (fn === undefined) {
    const built = buildFunction(env, instance, args, nodes, span);
    if (built === null) return ERROR;
    fn = built;
    env.ctx.functions.set(key, fn);
  }
  const path = layerPath(instance.path, index.value);
  const results: Value[] = [];
  fn.outputs.forEach((output, part) => {
    const node = env.ctx.builder.must("call", nodes, { fn: fn.name, path, part, type: output.node.type }, span);
    if (output.role === "result") results.push({ kind: "tensor", node });
    else env.sink?.push({ name: nameOutside(path, output), role: output.role, node });
  });
  return results.length === 1 ? results[0]! : { kind: "tuple", items: results };
}

function buildFunction(
  env: Env,
  instance: Instance,
  args: readonly Arg[],
  nodes: readonly Node[],
  span: Span,
): GraphFunction | null {
  const sink: Sink = [];
  const locals = new Map<string, Value>();
  const inputs = nodes.map((node, i) => {
    const input = env.ctx.builder.must("input", [], { name: `x${i}`, type: node.type }, args[i]!.span);
    locals.set(`x${i}`, { kind: "tensor", node: input });
    return input;
  });
  // The body is read with the arguments replaced by the function's inputs.
  const replaced = args.map((arg, i): Arg => ({
    ...arg,
    value: { kind: "name", name: { text: `x${i}`, span: arg.span }, span: arg.span },
  }));
  const value = expandLayer({ ...env, locals, sink, pools: false }, instance, replaced, span);
  if (value.kind === "error") return null;
  const items = value.kind === "tuple" ? value.items : [value];
  const results: Output[] = [];
  for (const [i, item] of items.entries()) {
    if (item.kind !== "tensor") {
      report(env, "type/not-a-tensor", "a layer of a stack returns tensors", span, "applied here");
      return null;
    }
    results.push({ name: i === 0 ? "out" : `out${i}`, role: "result", node: item.node });
  }
  return {
    name: `${instance.decl.name.text}:${instance.path}${env.ctx.functions.size}`,
    inputs,
    outputs: [...results, ...sink],
  };
}
