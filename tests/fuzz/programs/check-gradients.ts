/**
 * Gradients of a random program: of one number made of all its results, by every parameter along one random direction each, against
 * differences of the oracle. Where a difference depends on its step the program bends there, and nothing is asked.
 */
import type { Node, Program } from "../../../compiler/graph/node.ts";
import { Graph, isOp } from "../../../compiler/graph/node.ts";
import { parseProgram } from "../../../compiler/graph/parse.ts";
import { printProgram } from "../../../compiler/graph/print.ts";
import { allFunctions, outputNodes, topologicalOrder } from "../../../compiler/graph/traverse.ts";
import { differentiateProgram } from "../../../compiler/index.ts";
import { Builder } from "../../../compiler/ops/builder.ts";
import type { Value } from "../../../compiler/ops/define.ts";
import { evaluateProgram } from "../../../compiler/reference/interpret.ts";
import { verifyProgram } from "../../../compiler/verify/graph.ts";
import { Draw } from "../../support/random-models.ts";
import { type Given, bind } from "./bindings.ts";
import type { Verdict } from "./determined.ts";
import type { Case } from "./generate.ts";

/** The program with one `loss` and its gradients; null where it has none. */
export function differentiate({ program }: Case): Program | null {
  const b = new Builder(new Graph());
  const own = parseProgram(printProgram(program), b.graph);
  // A value that stands still while others move has no difference to be held to; what is made for gradients has none.
  const isApart = (n: Node): boolean =>
    isOp(n, "detach") || isOp(n, "attend_grad") || (isOp(n, "delta_rule") && n.attrs.part === "error");
  if (allFunctions(own).some((fn) => topologicalOrder(outputNodes(fn)).some(isApart))) return null;
  const parts = own.main.outputs.flatMap(({ node }, i): Node[] =>
    node.type.dtype === "f32" ? [weighted(node, i, b)] : [],
  );
  if (parts.length === 0) return null;
  const node = parts.reduce((sum, part) => b.plus(sum, part));
  const main = { ...own.main, outputs: [{ name: "loss", role: "loss", node } as const] };
  const made = differentiateProgram({ ...own, main }, "loss", b);
  return made.main.outputs.length > 1 ? made : null;
}

/** Bounded and uneven, so that no part outweighs the others or cancels. */
function weighted(node: Node, i: number, b: Builder): Node {
  const uneven = node.type.axes.reduce<Node>(
    (sum, axis, k) => b.plus(sum, b.times(b.cast(b.iota(axis), "f32"), 0.37 * (k + 1))),
    b.constant(0.5 + i),
  );
  const axes = node.type.axes.map((a) => a.name);
  return b.sum(b.times(b.tanh(b.times(node, 0.25)), b.sin(uneven)), axes);
}

export function checkGradients(test: Case, T: number): Verdict {
  const program = differentiate(test);
  if (program === null) return { wrong: [], undetermined: 0 };
  const faults = verifyProgram(program);
  if (faults.length > 0) return { wrong: faults.map((f) => `differentiated: ${f}`), undetermined: 0 };
  const given = bind(program, test.kind, T, 0);
  const here = compareAt(program, given);
  if (here.wrong.length === 0) return here;
  // Whole numbers and zeros may lie on a jump that no difference shows: what is wrong is so beside them as well.
  const params = memoized((path) => {
    const value = given.params(path);
    const way = direction(path, value);
    return { ...value, data: value.data.map((x, i) => x + way[i]! / 512) };
  });
  const beside = compareAt(program, { ...given, params });
  return beside.wrong.length > 0 ? here : { wrong: [], undetermined: here.undetermined + here.wrong.length };
}

function memoized(make: (path: string) => Value): (path: string) => Value {
  const made = new Map<string, Value>();
  return (path) => {
    const value = made.get(path) ?? make(path);
    made.set(path, value);
    return value;
  };
}

function compareAt(program: Program, given: Given): Verdict {
  const found = evaluateProgram(program, given);
  const loss: Program = { ...program, main: { ...program.main, outputs: program.main.outputs.slice(0, 1) } };
  const paths = program.main.outputs.slice(1).map((o) => o.name.slice("grad.".length));
  const move = (moved: readonly string[]): Movement => {
    const along = new Map(moved.map((path) => [path, direction(path, given.params(path))]));
    const at = (by: number): number => {
      const params = (path: string): Value => {
        const [value, way] = [given.params(path), along.get(path)];
        return way === undefined ? value : { ...value, data: value.data.map((x, i) => x + by * way[i]!) };
      };
      return evaluateProgram(loss, { ...given, params })["loss"]!.data[0]!;
    };
    const gradient = moved.reduce((sum, path) => {
      const way = along.get(path)!;
      return sum + found[`grad.${path}`]!.data.reduce((part, g, i) => part + g * way[i]!, 0);
    }, 0);
    return { gradient, at };
  };
  // All at once; each by itself where that does not tell.
  if (compare(move(paths)) === "agrees") return { wrong: [], undetermined: 0 };
  const each = paths.map((path) => ({ path, result: compare(move([path])) }));
  return {
    wrong: each.flatMap(({ path, result }) =>
      result === "agrees" || result === "bends"
        ? []
        : [`the gradient by ${path} is ${result[0]}, the difference ${result[1]}`],
    ),
    undetermined: each.filter(({ result }) => result === "bends").length,
  };
}

/** A way that parameters go, by how much each element: of their own size. */
function direction(path: string, { data }: Value): Float64Array {
  const draw = new Draw(path.length);
  const size = data.reduce((most, x) => Math.max(most, Math.abs(x)), 1);
  return data.map(() => size * (2 * draw.next() - 1));
}

/** The loss some way along a direction, and what the gradient says of that direction. */
interface Movement {
  readonly gradient: number;
  readonly at: (by: number) => number;
}

function compare({ gradient, at }: Movement): "agrees" | "bends" | readonly [gradient: number, difference: number] {
  const near = (x: number, y: number): boolean => Math.abs(x - y) <= 2e-5 * Math.max(1, Math.abs(x), Math.abs(y));
  const difference = (step: number): number => (at(step) - at(-step)) / (2 * step);
  const fine = difference(1e-5);
  if (near(gradient, fine)) return "agrees";
  // Another step, and each side by itself: at a bend they disagree.
  const [step, finer, here] = [2e-6, difference(2e-6), at(0)];
  const isSmooth = near(fine, finer) && near((at(step) - here) / step, (here - at(-step)) / step);
  return isSmooth && Number.isFinite(fine) ? [gradient, fine] : "bends";
}
