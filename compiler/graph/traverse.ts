/** Walking and rebuilding graphs: order from outputs, users, and bottom-up rewriting that keeps sharing. */
import type { GraphFunction, Node, Program } from "./node.ts";
import { isOp } from "./node.ts";

/** Every node that the outputs need, inputs before users; the order depends on structure alone. */
export function topologicalOrder(outputs: readonly Node[]): readonly Node[] {
  const order: Node[] = [];
  const done = new Set<Node>();
  // An explicit stack: graphs of unrolled layers are deeper than the call stack.
  const stack = outputs.map((node) => ({ node, next: 0 })).reverse();
  for (let top = stack.at(-1); top !== undefined; top = stack.at(-1)) {
    const input = done.has(top.node) ? undefined : top.node.inputs[top.next++];
    if (input !== undefined) {
      if (!done.has(input)) stack.push({ node: input, next: 0 });
      continue;
    }
    stack.pop();
    if (!done.has(top.node)) order.push(top.node);
    done.add(top.node);
  }
  return order;
}

export function outputNodes(fn: GraphFunction): readonly Node[] {
  return fn.outputs.map((o) => o.node);
}

/** The main function and all others. */
export function allFunctions(program: Program): readonly GraphFunction[] {
  return [...program.functions.values(), program.main];
}

/** Whether two programs over one graph are the same, where nodes that are equal are one. */
export function isSameProgram(a: Program, b: Program): boolean {
  const isSame = (f: GraphFunction, g: GraphFunction | undefined): boolean =>
    f.outputs.length === g?.outputs.length &&
    f.outputs.every(({ name, role, node }, i) => {
      const other = g.outputs[i]!;
      return name === other.name && role === other.role && node === other.node;
    });
  return (
    isSame(a.main, b.main) &&
    a.functions.size === b.functions.size &&
    [...a.functions].every(([name, fn]) => isSame(fn, b.functions.get(name)))
  );
}

/** Who reads each node; nodes that nobody reads have an empty list. */
export function usersOf(nodes: readonly Node[]): ReadonlyMap<Node, readonly Node[]> {
  const users = new Map<Node, Node[]>(nodes.map((n) => [n, []]));
  for (const node of nodes) for (const input of new Set(node.inputs)) users.get(input)?.push(node);
  return users;
}

/** What to put in a node's place, given its inputs already rewritten; `intern` or a builder makes the unchanged one. */
export type Rule = (node: Node, inputs: readonly Node[]) => Node;

/** Rewrites bottom-up, each node once. Gives the images of the outputs. */
export function rewriteNodes(outputs: readonly Node[], rule: Rule): readonly Node[] {
  const image = new Map<Node, Node>();
  for (const node of topologicalOrder(outputs)) {
    image.set(
      node,
      rule(
        node,
        node.inputs.map((input) => imageOf(image, input)),
      ),
    );
  }
  return outputs.map((node) => imageOf(image, node));
}

/** Rewrites a function's inputs and outputs. The rule has to turn inputs into inputs. */
export function rewriteFunction(fn: GraphFunction, rule: Rule): GraphFunction {
  const images = rewriteNodes([...fn.inputs, ...outputNodes(fn)], rule);
  const inputs = images.slice(0, fn.inputs.length).map((node) => {
    if (!isOp(node, "input")) throw new Error(`the rewrite of ${fn.name} turned an input into ${node.op}`);
    return node;
  });
  const outputs = fn.outputs.map((o, i) => ({ ...o, node: images[fn.inputs.length + i] ?? o.node }));
  return { name: fn.name, inputs, outputs };
}

export function rewriteProgram(program: Program, rule: Rule): Program {
  const functions = new Map([...program.functions].map(([name, fn]) => [name, rewriteFunction(fn, rule)]));
  return { main: rewriteFunction(program.main, rule), functions };
}

function imageOf(image: ReadonlyMap<Node, Node>, node: Node): Node {
  const found = image.get(node);
  if (found === undefined) throw new Error(`node %${node.id} was visited before its input`);
  return found;
}

/** The results of one call have the same key. */
export function callKey({ attrs, inputs }: Node<"call">): string {
  return `${attrs.fn} ${attrs.path} ${inputs.map((n) => n.id).join(" ")}`;
}
