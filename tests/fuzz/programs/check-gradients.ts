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
import { evaluateProgram } from "../../../compiler/reference/interpret.ts";
import { verifyProgram } from "../../../compiler/verify/graph.ts";
import { Draw } from "../../support/random-models.ts";
import { bind } from "./bindings.ts";
import type { Verdict } from "./determined.ts";
import type { Case } from "./generate.ts";

/** The program with one `loss` and its gradients; null where it has none. */
export function differentiate({ program }: Case): Program | null {
  const b = new Builder(new Graph());
  const own = parseProgram(printProgram(program), b.graph);
  // A value that stands still while others move has no difference to be held to.
  if (allFunctions(own).some((fn) => topologicalOrder(outputNodes(fn)).some((n) => isOp(n, "detach")))) return null;
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
  const found = evaluateProgram(program, given);
  const loss: Program = { ...program, main: { ...program.main, outputs: program.main.outputs.slice(0, 1) } };
  const paths = program.main.outputs.slice(1).map((o) => o.name.slice("grad.".length));
  const wrong: string[] = [];
  let undetermined = 0;
  for (const path of paths) {
    const value = given.params(path);
    const draw = new Draw(path.length);
    const along = value.data.map(() => 2 * draw.next() - 1);
    const at = (by: number): number => {
      const data = value.data.map((x, i) => x + by * along[i]!);
      const params = (p: string) => (p === path ? { ...value, data } : given.params(p));
      return evaluateProgram(loss, { ...given, params })["loss"]!.data[0]!;
    };
    const gradient = found[`grad.${path}`]!.data.reduce((sum, g, i) => sum + g * along[i]!, 0);
    const size = Math.max(1, ...value.data.map(Math.abs));
    const near = (x: number, y: number): boolean => Math.abs(x - y) <= 2e-5 * Math.max(1, Math.abs(x), Math.abs(y));
    const difference = (step: number): number => (at(step) - at(-step)) / (2 * step);
    const [fine, finer] = [difference(1e-5 * size), difference(2e-6 * size)];
    if (near(gradient, fine)) continue;
    // From each side as well: at a bend the two disagree.
    const step = 2e-6 * size;
    const [before, here, after] = [at(-step), at(0), at(step)];
    const isSmooth = near(fine, finer) && near((after - here) / step, (here - before) / step);
    if (!Number.isFinite(gradient + fine + finer) && Number.isNaN(fine + finer)) undetermined++;
    else if (!isSmooth) undetermined++;
    else wrong.push(`the gradient by ${path} is ${gradient}, the difference ${fine}`);
  }
  return { wrong, undetermined };
}
