/**
 * Expands calls inside of functions: a stack inside of a layer of a stack. Only main calls functions afterwards, so that a
 * layer stays one list of kernels; main's own layers stay calls, and their number costs nothing.
 */
import type { GraphFunction, Node, Program } from "../../graph/node.ts";
import { isOp } from "../../graph/node.ts";
import { bindPath } from "../../graph/path.ts";
import { rewriteFunction, rewriteNodes } from "../../graph/traverse.ts";
import type { Builder } from "../../ops/builder.ts";

/** The same program with calls in main alone. */
export function inlineCalls(program: Program, b: Builder): Program {
  const { flatten } = expanding(program, b);
  const main = rewriteFunction(program.main, (node, inputs) => b.must(node.op, inputs, node.attrs, node.origin));
  return { main, functions: new Map([...program.functions].map(([name, fn]) => [name, flatten(fn)])) };
}

/** The same program with no calls at all, which is as long as all of its layers together. */
export function inlineAll(program: Program, b: Builder): Program {
  const { expand } = expanding(program, b);
  return { main: rewriteFunction(program.main, expand), functions: new Map() };
}

interface Expanding {
  readonly flatten: (fn: GraphFunction) => GraphFunction;
  readonly expand: (node: Node, inputs: readonly Node[]) => Node;
}

function expanding(program: Program, b: Builder): Expanding {
  const flat = new Map<string, GraphFunction>();
  const flatten = (fn: GraphFunction): GraphFunction => {
    const known = flat.get(fn.name);
    if (known !== undefined) return known;
    const made = rewriteFunction(fn, (node, inputs) => expand(node, inputs));
    flat.set(fn.name, made);
    return made;
  };
  const expand = (node: Node, inputs: readonly Node[]): Node => {
    if (!isOp(node, "call")) return b.must(node.op, inputs, node.attrs, node.origin);
    const { fn: name, path, part } = node.attrs;
    const callee = program.functions.get(name);
    if (callee === undefined) throw new Error(`there is no function ${name}`);
    const body = flatten(callee);
    // The callee's inputs are leaves: they become the arguments, and its parameters those of the call's layer.
    const [result] = rewriteNodes([body.outputs[part]!.node], (inner, operands) => {
      if (isOp(inner, "input")) {
        const at = body.inputs.indexOf(inner);
        if (at >= 0) return inputs[at]!;
      }
      if (!isOp(inner, "param")) return b.must(inner.op, operands, inner.attrs, inner.origin);
      return b.must("param", [], { ...inner.attrs, path: bindPath(inner.attrs.path, path) }, inner.origin);
    });
    return result!;
  };
  return { flatten, expand };
}
