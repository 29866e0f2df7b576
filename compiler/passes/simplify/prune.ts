/** Keeps what one entry asks for: outputs by name, results of calls that something reads, functions that something calls. */
import type { GraphFunction, Node, Program } from "../../graph/node.ts";
import { isOp } from "../../graph/node.ts";
import { outputNodes, rewriteNodes, topologicalOrder } from "../../graph/traverse.ts";
import type { Builder } from "../../ops/builder.ts";

/** Main with the outputs of these names, in this order; throws for a name that it lacks. */
export function pruneProgram(program: Program, names: readonly string[], b: Builder): Program {
  const outputs = names.map((name) => {
    const output = program.main.outputs.find((o) => o.name === name);
    if (output === undefined) throw new Error(`the program has no output ${name}`);
    return output;
  });
  const used = usedParts(outputs.map((o) => o.node));
  const copy = (fn: GraphFunction, kept: readonly number[] | null): GraphFunction => {
    const own = kept === null ? fn.outputs : kept.map((part) => fn.outputs[part]!);
    const images = rewriteNodes([...fn.inputs, ...own.map((o) => o.node)], (node, inputs) => {
      if (!isOp(node, "call")) return b.must(node.op, inputs, node.attrs, node.origin);
      const part = (used.get(node.attrs.fn) ?? [node.attrs.part]).indexOf(node.attrs.part);
      return b.must("call", inputs, { ...node.attrs, part }, node.origin);
    });
    const inputs = images.slice(0, fn.inputs.length) as Node<"input">[];
    return { name: fn.name, inputs, outputs: own.map((o, i) => ({ ...o, node: images[fn.inputs.length + i]! })) };
  };
  const functions = new Map<string, GraphFunction>();
  for (const [name, parts] of used) {
    const fn = program.functions.get(name);
    if (fn === undefined) throw new Error(`there is no function ${name}`);
    if (topologicalOrder(outputNodes(fn)).some((n) => isOp(n, "call")))
      throw new Error(`${name} calls another function: calls inside of functions have to be inlined first`);
    functions.set(name, copy(fn, parts));
  }
  return { main: copy({ ...program.main, outputs }, null), functions };
}

/** By function, the parts of its results that are read, ascending. */
function usedParts(outputs: readonly Node[]): ReadonlyMap<string, readonly number[]> {
  const used = new Map<string, Set<number>>();
  for (const node of topologicalOrder(outputs)) {
    if (!isOp(node, "call")) continue;
    const parts = used.get(node.attrs.fn) ?? new Set();
    used.set(node.attrs.fn, parts.add(node.attrs.part));
  }
  return new Map([...used].map(([fn, parts]) => [fn, [...parts].sort((a, b) => a - b)]));
}
