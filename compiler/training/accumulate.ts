/**
 * Over `global`, the whole optimizer step, a pooled value is a buffer joined with this micro-batch's part; the output `accumulator`
 * of the buffer's name is the same value, to be kept for the next micro-batch. So at the last micro-batch of a step it is the value
 * over the step, and before that the value so far (Qiu et al. 2025, arXiv 2501.11873). Buffers start at `initial` in each step.
 * Limit: replicas would have to join their buffers inside of a micro-batch, which nothing does yet.
 */
import type { GraphFunction, Node, Program } from "../graph/node.ts";
import { isOp } from "../graph/node.ts";
import { templateOfLayer } from "../graph/path.ts";
import { outputNodes, rewriteNodes, topologicalOrder } from "../graph/traverse.ts";
import type { TensorType } from "../graph/type.ts";
import type { Builder } from "../ops/builder.ts";
import { pools } from "../ops/pool.ts";

/** A value kept from one micro-batch to the next: a parameter of this path to the program. */
export interface Accumulator {
  readonly path: string;
  readonly type: TensorType;
  /** All its elements at the beginning of an optimizer step. */
  readonly initial: number;
}

export interface Accumulated {
  readonly program: Program;
  readonly accumulators: readonly Accumulator[];
}

/** A program whose values over `global` are joined with buffers, which are parameters to it; a micro-batch is one sequence. */
export function accumulateProgram(program: Program, b: Builder): Accumulated {
  const accumulated = (fn: GraphFunction, prefix: string): GraphFunction => {
    const images = rewriteNodes([...fn.inputs, ...outputNodes(fn)], (node, inputs) =>
      isOp(node, "pool") && node.attrs.buffer !== null
        ? joinBuffer(node, inputs[0]!, prefix + node.attrs.buffer, b)
        : b.must(node.op, inputs, node.attrs, node.origin),
    );
    const outputs = fn.outputs.map((output, i) => ({ ...output, node: images[fn.inputs.length + i]! }));
    return { name: fn.name, inputs: images.slice(0, fn.inputs.length) as Node<"input">[], outputs };
  };
  const main = accumulated(program.main, "");
  const functions = new Map(
    [...program.functions].map(([name, fn]) => [name, accumulated(fn, `${templateOf(program, name)}.`)]),
  );
  const accumulators = program.main.outputs.flatMap(({ name, role, node }): Accumulator[] =>
    role === "accumulator"
      ? [{ path: name, type: node.type, initial: pools[poolOf(program, node).attrs.reduce].initial }]
      : [],
  );
  return { program: { main, functions }, accumulators };
}

function joinBuffer({ attrs, origin }: Node<"pool">, x: Node, path: string, b: Builder): Node {
  const own = b.must("pool", [x], { ...attrs, scope: "batch", buffer: null }, origin);
  const before = b.must("param", [], { path, type: own.type }, origin);
  return b.must("detach", [b.must(pools[attrs.reduce].join, [before, own], {}, origin)], {}, origin);
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
