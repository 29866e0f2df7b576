/**
 * What a sequence has once, and not per token: inputs without the time axis, such as encoded neighbours. A step holds tokens of several
 * sequences, so these inputs get the axis of sequences in front, and so does all that is made of them alone; where it meets tokens, each
 * takes its own sequence's. Limit: a sink of attention is one for all sequences; throws `shape/attend-axis` where it is not.
 */
import { MoeError } from "../../grammar/diagnostic.ts";
import { Dim } from "../graph/dim.ts";
import type { GraphFunction, Node, Program } from "../graph/node.ts";
import { isOp } from "../graph/node.ts";
import { outputNodes, rewriteNodes } from "../graph/traverse.ts";
import type { Axis, TensorType } from "../graph/type.ts";
import { OWN, TIME, hasAxis } from "../graph/type.ts";
import type { Builder } from "../ops/builder.ts";

const SEQUENCE: Axis = { name: OWN.sequence, size: Dim.of("S"), origin: null };
const time: Axis = { name: TIME, size: Dim.of(TIME), origin: null };

export function giveSequenceAxis(program: Program, b: Builder): Program {
  if (!program.main.inputs.some(isPerSequence)) return program;
  const functions = new Map([...program.functions].map(([name, fn]) => [name, givenFunction(fn, new Map(), b)]));
  return { main: givenFunction(program.main, functions, b), functions };
}

/** An input that is the same for all tokens of a sequence. */
function isPerSequence(input: Node<"input">): boolean {
  return !hasAxis(input.attrs.type, TIME);
}

function givenFunction(fn: GraphFunction, functions: ReadonlyMap<string, GraphFunction>, b: Builder): GraphFunction {
  const images = rewriteNodes([...fn.inputs, ...outputNodes(fn)], (node, inputs) =>
    givenNode(node, inputs, functions, b),
  );
  const outputs = fn.outputs.map((o, i) => ({ ...o, node: images[fn.inputs.length + i]! }));
  return { name: fn.name, inputs: images.slice(0, fn.inputs.length) as Node<"input">[], outputs };
}

/** With the node's own axes in their order, behind that of sequences where it has it. */
function givenNode(
  node: Node,
  inputs: readonly Node[],
  functions: ReadonlyMap<string, GraphFunction>,
  b: Builder,
): Node {
  const made = rebuildNode(node, inputs, functions, b);
  const front = hasAxis(made.type, OWN.sequence) ? [OWN.sequence] : [];
  return b.transpose(made, [...front, ...node.type.axes.map((a) => a.name)]);
}

function rebuildNode(
  node: Node,
  inputs: readonly Node[],
  functions: ReadonlyMap<string, GraphFunction>,
  b: Builder,
): Node {
  const rebuild = (operands: readonly Node[], attrs: object = node.attrs): Node =>
    b.must(node.op, operands, attrs as typeof node.attrs, node.origin);
  if (isOp(node, "input"))
    return isPerSequence(node) ? rebuild([], { ...node.attrs, type: bySequence(node.attrs.type) }) : rebuild([]);
  if (isOp(node, "call")) {
    const fn = functions.get(node.attrs.fn)!;
    const args = inputs.map((x, i) =>
      isPerSequence(fn.inputs[i]!) && !hasAxis(x.type, SEQUENCE.name) ? b.broadcast(x, [SEQUENCE]) : x,
    );
    return rebuild(args, { ...node.attrs, type: fn.outputs[node.attrs.part]!.node.type });
  }
  if (!inputs.some((x) => hasAxis(x.type, SEQUENCE.name))) return rebuild(inputs);
  if (isOp(node, "attend") && inputs[3] !== undefined && hasAxis(inputs[3].type, SEQUENCE.name))
    throw new MoeError({
      code: "shape/attend-axis",
      severity: "error",
      message: "a sink is the same for all sequences, and this one is made of what each sequence has once",
      labels: node.origin === null ? [] : [{ span: node.origin, text: "attends here" }],
      notes: [],
      help: "make the sink of parameters, or give its input the axis `T`",
    });
  if (inputs.some((x) => hasAxis(x.type, TIME)) || hasAxis(node.type, TIME)) {
    const own = b.must("sequence", [], { axis: time });
    const ofTokens = inputs.map((x) => (hasAxis(x.type, SEQUENCE.name) ? b.take(x, own, SEQUENCE.name) : x));
    // What each token took of its sequence has the axis of tokens already.
    return isOp(node, "broadcast")
      ? b.broadcast(
          ofTokens[0]!,
          node.attrs.axes.filter((a) => a.name !== TIME),
        )
      : rebuild(ofTokens);
  }
  if (isOp(node, "transpose")) return rebuild(inputs, { order: [SEQUENCE.name, ...node.attrs.order] });
  return rebuild(inputs);
}

function bySequence(type: TensorType): TensorType {
  return { ...type, axes: [SEQUENCE, ...type.axes] };
}
