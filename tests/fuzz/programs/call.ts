/** A layer's function that grows on some of the pool, called once, or again on what that gave: for another layer, or the same. */
import type { Node, Output } from "../../../compiler/graph/node.ts";
import { Draw } from "../../support/random-models.ts";
import { Grower } from "./grow.ts";

export function callRow(g: Grower): Node | null {
  if (g.layer !== null || g.shared.functions.size >= 2) return null;
  const { b, functions, values, below } = g.shared;
  const given = [g.tokens(), ...(g.draw.next() < 0.4 ? [g.pick(() => true) ?? g.tokens()] : [])];
  const args = given.filter((n, i) => given.indexOf(n) === i);
  const stack = `stack${functions.size}`;
  const inner = new Grower(g.shared, new Draw(g.draw.below(2 ** 30)), `${stack}[#]`);
  args.forEach((arg, i) => {
    const node = b.must("input", [], { name: `${stack}.a${i}`, type: arg.type });
    // Inside, an argument has the value of the first call.
    values.set(node, values.get(arg)!);
    const most = below.get(arg);
    if (most !== undefined) below.set(node, most);
    inner.inputs.push(node);
    inner.pool.push(node);
  });
  g.shared.grow(inner, 2 + g.draw.below(6));
  const made = inner.pool.slice(args.length).filter((n) => n.op !== "param" && n.op !== "constant");
  const same = made.findLast((n) => n.type.dtype === args[0]!.type.dtype && sameAxes(n, args[0]!));
  const results = [same, made.at(-1), made.at(-2)].filter((n) => n !== undefined);
  const outputs = [...new Set(results)]
    .slice(0, 2)
    .map((node, i): Output => ({ name: `out${i}`, role: "result", node }));
  if (outputs.length === 0) return null;
  const fn = { name: `${stack}Layer`, inputs: inner.inputs, outputs };
  functions.set(fn.name, fn);
  const call = (index: number, from: readonly Node[]): readonly (Node | null)[] =>
    outputs.map(({ node: { type } }, part) =>
      g.make("call", from, { fn: fn.name, path: `${stack}[${index}]`, part, type }),
    );
  const first = call(0, args);
  if (first[0] == null) {
    functions.delete(fn.name);
    return null;
  }
  if (same === undefined || below.has(args[0]!) || g.draw.next() < 0.4) return first[0];
  return call(g.draw.next() < 0.3 ? 0 : 1, [first[0], ...args.slice(1)])[0] ?? first[0];
}

function sameAxes(a: Node, b: Node): boolean {
  return a.type.axes.length === b.type.axes.length && a.type.axes.every((x, i) => x.name === b.type.axes[i]!.name);
}
