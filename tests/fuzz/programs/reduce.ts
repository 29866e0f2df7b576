/**
 * Smaller programs that fail alike: outputs left out, nodes replaced by an input of their type, by one of their operands.
 * What fast-check left large for its steps becomes as small as its text can.
 */
import type { Node, Output, Program } from "../../../compiler/graph/node.ts";
import { Graph, isOp } from "../../../compiler/graph/node.ts";
import { parseProgram } from "../../../compiler/graph/parse.ts";
import { printProgram } from "../../../compiler/graph/print.ts";
import { outputNodes, rewriteNodes, topologicalOrder } from "../../../compiler/graph/traverse.ts";
import { TIME, hasAxis, sameType } from "../../../compiler/graph/type.ts";
import { inlineCalls } from "../../../compiler/passes/simplify/inline.ts";
import { Builder } from "../../../compiler/ops/builder.ts";
import { isMismatch } from "../../../compiler/ops/mismatch.ts";

/** The smallest that was found for which `fails` holds, with at most `tries` questions. */
export async function reduceProgram(
  program: Program,
  fails: (smaller: Program) => Promise<boolean>,
  tries = 300,
): Promise<Program> {
  let now = program;
  let left = tries;
  for (let isSmaller = true; isSmaller && left > 0;) {
    isSmaller = false;
    for (const next of smaller(now)) {
      if (left-- <= 0) break;
      if (!(await fails(next).catch(() => false))) continue;
      now = next;
      isSmaller = true;
      break;
    }
  }
  return now;
}

/** Programs with less in them, those that leave most out first. */
function* smaller(program: Program): Generator<Program> {
  const { main } = program;
  if (main.outputs.length > 1) for (const output of main.outputs) yield withOutputs(program, [output]);
  if (program.functions.size > 0) yield inlined(program);

  for (const node of topologicalOrder(outputNodes(main)).toReversed()) {
    if (["input", "param", "constant"].includes(node.op)) continue;
    for (const input of node.inputs) {
      const next = sameType(input.type, node.type) ? replaced(program, node, () => input) : null;
      if (next !== null) yield next;
    }
    const next = replaced(program, node, (b, inputs) => leafLike(node, b, inputs));
    if (next !== null) yield next;
  }
  // A result of the middle as the output.
  for (const [output] of [main.outputs])
    for (const input of output!.node.inputs)
      if (input.type.dtype !== "bool" && hasAxis(input.type, TIME) === hasAxis(output!.node.type, TIME))
        yield withOutputs(program, [{ ...output!, node: input }]);
}

/** All calls expanded: main as one of the functions, in which they are. */
function inlined({ main, functions }: Program): Program {
  const b = new Builder(new Graph());
  const inner = parseProgram(printProgram({ main, functions }), b.graph);
  const all = new Map([...inner.functions, [inner.main.name, inner.main]]);
  const made = inlineCalls({ main: { name: "none", inputs: [], outputs: [] }, functions: all }, b);
  return { main: made.functions.get(inner.main.name)!, functions: new Map() };
}

function withOutputs(program: Program, outputs: readonly Output[]): Program {
  const used = new Set(topologicalOrder(outputs.map((o) => o.node)));
  const called = new Set([...used].flatMap((n) => (isOp(n, "call") ? [n.attrs.fn] : [])));
  return {
    main: { ...program.main, inputs: program.main.inputs.filter((n) => used.has(n)), outputs },
    functions: new Map([...program.functions].filter(([name]) => called.has(name))),
  };
}

/** Floats with time as an input, without it as a parameter; indices as they may be had. */
function leafLike(node: Node, b: Builder, inputs: Node<"input">[]): Node | null {
  const { type } = node;
  const name = `r${node.id}`;
  if (type.dtype === "f32" && !hasAxis(type, TIME) && type.axes.every((a) => a.size.value !== null))
    return b.must("param", [], { path: name, type });
  if (type.dtype !== "f32" && type.dtype !== "u32") return null;
  if (type.dtype === "u32" && !hasAxis(type, TIME)) return null;
  const input = b.must("input", [], { name, type });
  inputs.push(input);
  return input;
}

function replaced(
  program: Program,
  node: Node,
  by: (b: Builder, inputs: Node<"input">[]) => Node | null,
): Program | null {
  const b = new Builder(new Graph());
  const text = printProgram(program);
  const own = parseProgram(text, b.graph);
  const order = topologicalOrder(outputNodes(program.main));
  const ownNode = topologicalOrder(outputNodes(own.main))[order.indexOf(node)];
  if (ownNode === undefined) return null;
  const inputs: Node<"input">[] = [...own.main.inputs];
  const twin = by(b, inputs);
  if (twin === null) return null;
  const target = order.includes(twin) ? topologicalOrder(outputNodes(own.main))[order.indexOf(twin)]! : twin;
  try {
    const images = rewriteNodes([...inputs, ...outputNodes(own.main), target], (n, operands) => {
      if (n === ownNode) return target;
      const made = b.add(n.op, operands, n.attrs);
      if (isMismatch(made)) throw new Error(made.message);
      return made;
    });
    const outputs = own.main.outputs.map((o, i) => ({ ...o, node: images[inputs.length + i]! }));
    return withOutputs({ main: { ...own.main, inputs, outputs }, functions: own.functions }, outputs);
  } catch {
    return null;
  }
}
