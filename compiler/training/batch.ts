/**
 * From the program for one sequence to the one for a micro-batch: every input gets the axis `batch` in front, and each node's type is
 * inferred anew. Ops meet by name, so nearly all carry the axis along by themselves. What was pooled over sequences becomes the
 * reduction that it stands for; over a whole optimizer step it is also joined with what the micro-batches before have left
 * (`accumulate.ts`). A loss that each sequence has its own of counts with its mean. Limit: sequences of one length.
 */
import type { GraphFunction, Node, Output, Program } from "../graph/node.ts";
import { isOp } from "../graph/node.ts";
import { outputNodes, rewriteNodes } from "../graph/traverse.ts";
import type { Axis, TensorType } from "../graph/type.ts";
import { hasAxis } from "../graph/type.ts";
import { Dim } from "../graph/dim.ts";
import type { Builder } from "../ops/builder.ts";
import { pools } from "../ops/pool.ts";
import { type Accumulated, accumulateProgram } from "./accumulate.ts";

/** The axis of a micro-batch's sequences, and the symbol of its size. */
export const BATCH: Axis = { name: "batch", size: Dim.of("batch"), origin: null };

/**
 * `batch`: the axis, where the number of sequences is known. `drawn`: how many sequences of the run came before these, u32 [], where there is
 * one.
 */
export function batchProgram(one: Program, b: Builder, batch: Axis = BATCH, drawn: Node | null = null): Accumulated {
  const { program, accumulators } = accumulateProgram(one, b);
  const functions = new Map<string, GraphFunction>();
  const batched = (name: string): GraphFunction => {
    const known = functions.get(name);
    if (known !== undefined) return known;
    const fn = program.functions.get(name);
    if (fn === undefined) throw new Error(`there is no function ${name}`);
    const made = batchFunction(fn, batched, batch, drawn, b);
    functions.set(name, made);
    return made;
  };
  for (const name of program.functions.keys()) batched(name);
  const main = batchFunction(program.main, batched, batch, drawn, b);
  return { program: { main, functions }, accumulators };
}

function batchFunction(
  fn: GraphFunction,
  callee: (name: string) => GraphFunction,
  batch: Axis,
  drawn: Node | null,
  b: Builder,
): GraphFunction {
  const images = rewriteNodes([...fn.inputs, ...outputNodes(fn)], (node, inputs) =>
    batchNode(node, inputs, callee, batch, drawn, b),
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
  callee: (name: string) => GraphFunction,
  batch: Axis,
  drawn: Node | null,
  b: Builder,
): Node {
  if (isOp(node, "input")) {
    const type = { ...node.attrs.type, axes: [batch, ...node.attrs.type.axes] };
    return b.must("input", [], { ...node.attrs, type }, node.origin);
  }
  if (isOp(node, "draw") && drawn !== null) return b.plus(b.iota(batch), drawn);
  if (isOp(node, "pool")) return poolSequences(node, inputs[0]!, batch, b);
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

function poolSequences({ attrs, origin }: Node<"pool">, x: Node, batch: Axis, b: Builder): Node {
  return b.must(pools[attrs.reduce].reduce, [spread(x, batch, b)], { axes: [BATCH.name] }, origin);
}

/** With the axis of sequences, whether it is there or the same for all. */
function spread(x: Node, batch: Axis, b: Builder): Node {
  return hasAxis(x.type, BATCH.name) ? x : b.broadcast(x, [batch]);
}

/** Sequences first, then the axes in the order of the type for one sequence. */
function arrange(x: Node, one: TensorType, batch: Axis, b: Builder): Node {
  return b.transpose(spread(x, batch, b), [BATCH.name, ...one.axes.map((a) => a.name)]);
}
