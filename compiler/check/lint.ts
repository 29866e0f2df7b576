/**
 * Warnings: what is legal and hardly meant. Names that nothing reads are found in the tree. The known bugs of mixtures are
 * found in the graph, by its arithmetic and not by any router's name: weights that are constant, so that their router
 * learns nothing, and losses without a gradient. Gradients are followed through float operands of differentiable ops.
 */
import type { LayerDecl, Module } from "../../grammar/ast.ts";
import type { DiagnosticBag } from "../../grammar/diagnostic.ts";
import type { Span } from "../../grammar/span.ts";
import type { Node, Program } from "../graph/node.ts";
import { isOp } from "../graph/node.ts";
import type { Axis } from "../graph/type.ts";
import { topologicalOrder } from "../graph/traverse.ts";
import { ops } from "../ops/table.ts";

/** Imports, parameters and members of layers that nothing reads. A model's parameters may be there for its map. */
export function lintNames(bag: DiagnosticBag, module: Module): void {
  const used = namesIn(module.items);
  for (const { name, alias } of module.imports.flatMap((i) => i.names)) {
    const { text, span } = alias ?? name;
    if (!used.has(text))
      bag.warn(
        "lint/unused",
        `\`${text}\` is imported and never used`,
        [{ span, text: "imported here" }],
        "remove it from the import",
      );
  }
  for (const item of module.items) if (item.kind === "layer" && item.forward !== null) lintLayer(bag, item);
}

function lintLayer(bag: DiagnosticBag, decl: LayerDecl): void {
  const used = namesIn([decl.params, decl.where, decl.members, decl.forward]);
  if (decl.keyword === "layer") {
    for (const { name } of decl.params) {
      if (!used.has(name.text))
        bag.warn(
          "lint/unused",
          `parameter \`${name.text}\` of \`${decl.name.text}\` is never used`,
          [{ span: name.span, text: "declared here" }],
          "remove it",
        );
    }
  }
  for (const { name } of decl.members) {
    if (!used.has(name.text))
      bag.warn(
        "lint/unused",
        `member \`${name.text}\` of \`${decl.name.text}\` is never used`,
        [{ span: name.span, text: "its parameters would be stored for nothing" }],
        "use it in `forward`, or remove it",
      );
  }
}

/** Every name that is read: declarations and names of arguments (`name` of a record without a kind) are left out. */
function namesIn(tree: unknown): ReadonlySet<string> {
  const found = new Set<string>();
  const visit = (value: unknown): void => {
    if (typeof value !== "object" || value === null) return;
    if ("text" in value && "span" in value) found.add(String(value.text).replace(/'+$/, ""));
    const isRecord = !Array.isArray(value) && !("kind" in value);
    for (const [field, inner] of Object.entries(value)) {
      if (!/^(span|fromSpan)$/.test(field) && !(isRecord && field === "name")) visit(inner);
    }
  };
  visit(tree);
  return found;
}

/** What a graph gives away. `at` is the declaration that the program was built from. */
export function lintProgram(bag: DiagnosticBag, program: Program, at: Span): void {
  for (const fn of [program.main, ...program.functions.values()]) {
    for (const node of topologicalOrder(fn.outputs.map((o) => o.node))) {
      const choice = constantWeight(node);
      if (choice !== null) {
        const labels = [
          ...(choice.origin === null ? [] : [{ span: choice.origin, text: "one choice comes from here" }]),
          ...(node.origin === null ? [] : [{ span: node.origin, text: "divided by itself here" }]),
          { span: at, text: "in this declaration" },
        ];
        // What the author of this file wrote comes first.
        bag.warn(
          "lint/constant-weight",
          "the weight of a single choice is divided by itself, so it is always 1",
          labels.toSorted((a, b) => Number(b.span.file === at.file) - Number(a.span.file === at.file)),
          "with one choice per token, weight by its probability among all: its router gets no gradient otherwise",
        );
      }
    }
    for (const { role, node } of fn.outputs) {
      if (role !== "loss" || node.origin === null) continue;
      const sum = constantSum(node);
      if (sum !== null) {
        bag.warn(
          "lint/loss-axis",
          "this loss sums probabilities over the axis that they add up to 1 over, so it is constant",
          [
            { span: sum, text: "always 1" },
            { span: node.origin, text: "in this loss" },
          ],
          "reduce over the tokens first: `mean[T](p)`",
        );
      } else if (!hasGradient(node)) {
        bag.warn(
          "lint/loss-gradient",
          "no gradient flows from this loss to any parameter",
          [{ span: node.origin, text: "this loss" }],
          "use something differentiable, such as probabilities, beside counts and indices",
        );
      }
    }
  }
}

/** The slot axis, if a node is `a * c / Σ a` over one slot: what a softmax or a renormalisation of a top-1 choice comes to. */
function constantWeight(node: Node): Axis | null {
  if (!isOp(node, "div")) return null;
  const [above, below] = node.inputs;
  if (above === undefined || below === undefined || !isOp(below, "sum")) return null;
  const [summed] = below.inputs;
  const single =
    summed !== undefined &&
    below.attrs.axes.every((name) => summed.type.axes.find((a) => a.name === name)?.size.value === 1);
  if (!single || !factors(above).includes(summed)) return null;
  return (
    topologicalOrder([summed]).flatMap((n) =>
      isOp(n, "topk") && below.attrs.axes.includes(n.attrs.k.name) ? [n.attrs.k] : [],
    )[0] ?? null
  );
}

const factors = (node: Node): readonly Node[] => (isOp(node, "mul") ? node.inputs.flatMap(factors) : [node]);

/** The place of a sum over an axis of something that was normalised over that same axis, if a loss rests on it. */
function constantSum(loss: Node): Span | null {
  for (const node of differentiable(loss)) {
    if (!isOp(node, "sum")) continue;
    const [of] = node.inputs;
    const below = of !== undefined && isOp(of, "div") ? of.inputs[1] : undefined;
    if (below === undefined || !isOp(below, "sum") || below.inputs[0] !== of?.inputs[0]) continue;
    if (below.attrs.axes.every((name) => node.attrs.axes.includes(name))) return node.origin;
  }
  return null;
}

function hasGradient(loss: Node): boolean {
  return differentiable(loss).some(
    (n) => (isOp(n, "param") || isOp(n, "input") || isOp(n, "call")) && n.type.dtype === "f32",
  );
}

/** Everything that a gradient reaches from a node, itself first. */
function differentiable(from: Node): readonly Node[] {
  const seen = new Set<Node>();
  const visit = (node: Node): void => {
    if (seen.has(node) || node.type.dtype !== "f32") return;
    seen.add(node);
    if (!isOp(node, "detach") && ops[node.op].vjp !== null) node.inputs.forEach(visit);
  };
  visit(from);
  return [...seen];
}
