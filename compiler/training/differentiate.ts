/**
 * Reverse-mode differentiation: the gradient of one number by every parameter, as further outputs of the program. Nodes are visited
 * users first; each row's rule turns the gradient of a node into those of its inputs, with axes that broadcasting added summed back
 * by name, and gradients of several users add up. Functions of layers are differentiated once for the results that are used together: the
 * gradient's function takes the layer's inputs and the gradients of those, and computes what it needs of the layer again, so that nothing is
 * kept per layer. What nothing uses has no part in it: a gradient of zero, times what has overflowed there, would be no number.
 * Griewank, Walther (2008), "Evaluating Derivatives", 3.2 and 12.
 *
 * No gradient flows through `detach`, indices or comparisons, and none to states.
 */
import type { GraphFunction, Node, Output, Program } from "../graph/node.ts";
import { isOp } from "../graph/node.ts";
import { bindPath } from "../graph/path.ts";
import { callKey, topologicalOrder } from "../graph/traverse.ts";
import type { TensorType } from "../graph/type.ts";
import type { Builder } from "../ops/builder.ts";
import type { OpDef } from "../ops/define.ts";
import { fitGradient } from "../ops/gradient.ts";
import { ops } from "../ops/table.ts";

/**
 * The program with the output `of` and, for every parameter that has a part in it, `grad.` and its path. `of` is one number f32 [];
 * throws when there is no such output. `b` makes nodes of the program's own graph.
 */
export function differentiateProgram(program: Program, of: string, b: Builder): Program {
  const output = program.main.outputs.find((o) => o.name === of);
  if (output === undefined || output.node.type.axes.length > 0)
    throw new Error(`${of} is not one number of the program`);
  const pass = new Differentiation(program, b);
  const { params } = pass.backward([[output.node, b.constant(1)]]);
  const outputs = [output, ...gradientOutputs(params)];
  return { main: { ...program.main, outputs }, functions: new Map([...program.functions, ...pass.functions]) };
}

/** Gradients of what a piece of graph was computed from. */
interface Gradients {
  readonly nodes: ReadonlyMap<Node, Node>;
  /** By path, which has holes inside of a layer's function. */
  readonly params: ReadonlyMap<string, Node>;
}

/** The gradient of a function, and which of its results belongs to what. */
interface Backward {
  readonly fn: GraphFunction;
  /** For every input of the layer, the result with its gradient. */
  readonly inputs: readonly (number | null)[];
  readonly params: readonly (readonly [path: string, part: number])[];
}

class Differentiation {
  readonly functions = new Map<string, GraphFunction>();
  readonly #program: Program;
  readonly #b: Builder;
  readonly #done = new Map<string, Backward>();

  constructor(program: Program, b: Builder) {
    this.#program = program;
    this.#b = b;
  }

  backward(seeds: readonly (readonly [Node, Node])[]): Gradients {
    const nodes = new Map<Node, Node>();
    const params = new Map<string, Node>();
    const add = <K>(to: Map<K, Node>, key: K, gradient: Node, like: TensorType): void => {
      const fitted = fitGradient(this.#b, gradient, like);
      const before = to.get(key);
      to.set(key, before === undefined ? fitted : this.#b.plus(before, fitted));
    };
    for (const [node, gradient] of seeds) add(nodes, node, gradient, node.type);
    const order = topologicalOrder(seeds.map(([node]) => node));
    const calls = Map.groupBy(
      order.filter((n) => isOp(n, "call")),
      callKey,
    );
    for (const node of [...order].reverse()) {
      if (isOp(node, "call")) {
        // Every user of any of its results comes after the first of them, and so has been visited.
        const results = calls.get(callKey(node)) ?? [];
        if (results[0] === node) this.#backwardCall(results, nodes, params, add);
        continue;
      }
      const gradient = nodes.get(node);
      if (gradient === undefined) continue;
      if (isOp(node, "param")) add(params, node.attrs.path, gradient, node.type);
      const row = ops[node.op] as OpDef<typeof node.op>;
      if (row.vjp === null) throw new Error(`${node.op} has no gradient`);
      const found = row.vjp(this.#b, node, gradient);
      node.inputs.forEach((input, i) => {
        const own = found[i] ?? null;
        if (own !== null && input.type.dtype === "f32") add(nodes, input, own, input.type);
      });
    }
    return { nodes, params };
  }

  #backwardCall(
    results: readonly Node<"call">[],
    nodes: Map<Node, Node>,
    params: Map<string, Node>,
    add: <K>(to: Map<K, Node>, key: K, gradient: Node, like: TensorType) => void,
  ): void {
    const used = results.filter((r) => nodes.has(r)).sort((a, b) => a.attrs.part - b.attrs.part);
    const [call] = used;
    if (call === undefined) return;
    const { fn, path } = call.attrs;
    const {
      fn: gradient,
      inputs,
      params: own,
    } = this.#gradientOf(
      fn,
      used.map((r) => r.attrs.part),
    );
    const outside = used.map((r) => nodes.get(r)!);
    const take = (part: number): Node => {
      const { type } = gradient.outputs[part]!.node;
      return this.#b.must("call", [...call.inputs, ...outside], { fn: gradient.name, path, part, type }, call.origin);
    };
    call.inputs.forEach((input, i) => {
      const part = inputs[i] ?? null;
      if (part !== null) add(nodes, input, take(part), input.type);
    });
    for (const [inner, part] of own) add(params, bindPath(inner, path), take(part), gradient.outputs[part]!.node.type);
  }

  /** Of these results, ascending. */
  #gradientOf(name: string, parts: readonly number[]): Backward {
    const own = `${name}:gradient:${parts.join(",")}`;
    const known = this.#done.get(own);
    if (known !== undefined) return known;
    const fn = this.#functionOf(name);
    const given = parts.map((part) =>
      this.#b.must("input", [], { name: `grad${part}`, type: fn.outputs[part]!.node.type }),
    );
    const { nodes, params } = this.backward(parts.map((part, i) => [fn.outputs[part]!.node, given[i]!]));
    const back = fn.inputs.flatMap((input): Output[] => {
      const node = nodes.get(input);
      return node === undefined ? [] : [{ name: `back.${input.attrs.name}`, role: "gradient", node }];
    });
    const outputs = [...back, ...gradientOutputs(params)];
    let next = 0;
    const made: Backward = {
      fn: { name: own, inputs: [...fn.inputs, ...given], outputs },
      inputs: fn.inputs.map((input) => (nodes.has(input) ? next++ : null)),
      params: [...params.keys()].map((path, i) => [path, back.length + i]),
    };
    this.#done.set(own, made);
    this.functions.set(made.fn.name, made.fn);
    return made;
  }

  #functionOf(name: string): GraphFunction {
    const fn = this.#program.functions.get(name);
    if (fn === undefined) throw new Error(`there is no function ${name}`);
    return fn;
  }
}

function gradientOutputs(params: ReadonlyMap<string, Node>): readonly Output[] {
  return [...params].map(([path, node]): Output => ({ name: `grad.${path}`, role: "gradient", node }));
}
