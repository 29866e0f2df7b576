/**
 * From the program for one sequence to the one for a micro-batch: every input gets the axis `batch` in front, and each node's type is
 * inferred anew. Ops meet by name, so nearly all carry the axis along by themselves. What was pooled over sequences becomes the
 * reduction that it stands for. A loss that each sequence has its own of counts with its mean.
 *
 * Over `global`, the whole optimizer step, a pooled value is a buffer joined with this micro-batch's part; the output `accumulator`
 * of the buffer's name is the same value, to be kept for the next micro-batch. So at the last micro-batch of a step it is the value
 * over the step, and before that the value so far (Qiu et al. 2025, arXiv 2501.11873). Buffers start at `initial` in each step.
 * Limits: sequences of one length; replicas would have to join their buffers inside of a micro-batch, which nothing does yet.
 */
import type { GraphFunction, Node, Output, Program } from "../graph/node.ts";
import { isOp } from "../graph/node.ts";
import { templateOfLayer } from "../graph/path.ts";
import { outputNodes, rewriteNodes, topologicalOrder } from "../graph/traverse.ts";
import type { Axis, TensorType } from "../graph/type.ts";
import { hasAxis } from "../graph/type.ts";
import { Dim } from "../graph/dim.ts";
import type { Builder } from "../ops/builder.ts";
import { pools } from "../ops/pool.ts";

/** The axis of a micro-batch's sequences, and the symbol of its size. */
export const BATCH: Axis = { name: "batch", size: Dim.of("batch"), origin: null };

/** A value kept from one micro-batch to the next: a parameter of this path to the program. */
export interface Accumulator {
  readonly path: string;
  readonly type: TensorType;
  /** All its elements at the beginning of an optimizer step. */
  readonly initial: number;
}

export interface Batched {
  readonly program: Program;
  readonly accumulators: readonly Accumulator[];
}

/** `batch`: the axis, where the number of sequences is known. */
export function batchProgram(program: Program, b: Builder, batch: Axis = BATCH): Batched {
  const functions = new Map<string, GraphFunction>();
  const batched = (name: string): GraphFunction => {
    const known = functions.get(name);
    if (known !== undefined) return known;
    const fn = program.functions.get(name);
    if (fn === undefined) throw new Error(`there is no function ${name}`);
    const made = batchFunction(fn, `${templateOf(program, name)}.`, batched, batch, b);
    functions.set(name, made);
    return made;
  };
  for (const name of program.functions.keys()) batched(name);
  const main = batchFunction(program.main, "", batched, batch, b);
  const accumulators = program.main.outputs.flatMap(({ name, role, node }, i): Accumulator[] =>
    role === "accumulator"
      ? [{ path: name, type: main.outputs[i]!.node.type, initial: pools[poolOf(program, node).attrs.reduce].initial }]
      : [],
  );
  return { program: { main, functions }, accumulators };
}

function batchFunction(
  fn: GraphFunction,
  prefix: string,
  callee: (name: string) => GraphFunction,
  batch: Axis,
  b: Builder,
): GraphFunction {
  const images = rewriteNodes([...fn.inputs, ...outputNodes(fn)], (node, inputs) =>
    batchNode(node, inputs, prefix, callee, batch, b),
  );
  const outputs = fn.outputs.map((output, i) => batchOutput(output, images[fn.inputs.length + i]!, batch, b));
  return { name: fn.name, inputs: images.slice(0, fn.inputs.length) as Node<"input">[], outputs };
}

function batchOutput(output: Output, node: Node, batch: Axis, b: Builder): Output {
  const has = hasAxis(node.type, BATCH.name);
  if (has && (output.role === "update" || output.role === "accumulator"))
    throw new Error(`${output.name} differs from sequence to sequence`);
  if (has && output.role === "loss") {
    const count = b.sum(b.broadcast(b.constant(1), [batch]), [BATCH.name]);
    return { ...output, node: b.over(b.sum(node, [BATCH.name]), count) };
  }
  return { ...output, node: has || output.role === "result" ? arrange(node, output.node.type, batch, b) : node };
}

function batchNode(
  node: Node,
  inputs: readonly Node[],
  prefix: string,
  callee: (name: string) => GraphFunction,
  batch: Axis,
  b: Builder,
): Node {
  if (isOp(node, "input")) {
    const type = { ...node.attrs.type, axes: [batch, ...node.attrs.type.axes] };
    return b.must("input", [], { ...node.attrs, type }, node.origin);
  }
  if (isOp(node, "pool")) return poolSequences(node, inputs[0]!, prefix, batch, b);
  if (isOp(node, "call")) {
    const { fn, part } = node.attrs;
    const args = inputs.map((x, i) => arrange(x, node.inputs[i]!.type, batch, b));
    return b.must("call", args, { ...node.attrs, type: callee(fn).outputs[part]!.node.type }, node.origin);
  }
  if (isOp(node, "transpose")) {
    const front = hasAxis(inputs[0]!.type, BATCH.name) ? [BATCH.name] : [];
    return b.must("transpose", inputs, { order: [...front, ...node.attrs.order] }, node.origin);
  }
  // Queries, keys and values tell heads from channels by what they share, so all of them have the axis or none.
  if ((isOp(node, "attend") || isOp(node, "delta_rule")) && inputs.some((x) => hasAxis(x.type, BATCH.name))) {
    const shared = inputs.map((x, i) => (i < 3 ? spread(x, batch, b) : x));
    return b.must(node.op, shared, node.attrs, node.origin);
  }
  return b.must(node.op, inputs, node.attrs, node.origin);
}

function poolSequences({ attrs, origin }: Node<"pool">, x: Node, prefix: string, batch: Axis, b: Builder): Node {
  const { reduce, join } = pools[attrs.reduce];
  const own = b.must(reduce, [spread(x, batch, b)], { axes: [BATCH.name] }, origin);
  if (attrs.buffer === null) return own;
  const before = b.must("param", [], { path: prefix + attrs.buffer, type: own.type }, origin);
  return b.must("detach", [b.must(join, [before, own], {}, origin)], {}, origin);
}

/** With the axis of sequences, whether it is there or the same for all. */
function spread(x: Node, batch: Axis, b: Builder): Node {
  return hasAxis(x.type, BATCH.name) ? x : b.broadcast(x, [batch]);
}

/** Sequences first, then the axes in the order of the type for one sequence. */
function arrange(x: Node, one: TensorType, batch: Axis, b: Builder): Node {
  return b.transpose(spread(x, batch, b), [BATCH.name, ...one.axes.map((a) => a.name)]);
}

/** The path of the layers that a function is called for, with a hole for the number. */
function templateOf(program: Program, fn: string): string {
  for (const { outputs } of [program.main, ...program.functions.values()])
    for (const node of topologicalOrder(outputs.map((o) => o.node)))
      if (isOp(node, "call") && node.attrs.fn === fn) return templateOfLayer(node.attrs.path);
  return "";
}

/** The pooling behind an output that a layer's function gives back. */
function poolOf(program: Program, node: Node): Node<"pool"> {
  if (isOp(node, "pool")) return node;
  const inner = isOp(node, "call") ? program.functions.get(node.attrs.fn)?.outputs[node.attrs.part] : undefined;
  if (inner === undefined) throw new Error("an accumulator is something that was pooled");
  return poolOf(program, inner.node);
}
