/**
 * Warnings: what is legal and hardly meant. Names that nothing reads are found in the tree. The known bugs of mixtures are
 * found in the graph, by its arithmetic and not by any router's name: weights that are constant, so that their router
 * learns nothing, losses without a gradient or over the wrong axis, and what `lint-route.ts` finds in routes.
 */
import type { LayerDecl, Member, Module } from "../../grammar/ast.ts";
import type { DiagnosticBag } from "../../grammar/diagnostic.ts";
import type { Span } from "../../grammar/span.ts";
import { withoutPrimes } from "../graph/type.ts";
import type { Node, Program } from "../graph/node.ts";
import { isOp } from "../graph/node.ts";
import type { Axis } from "../graph/type.ts";
import { topologicalOrder } from "../graph/traverse.ts";
import { differentiable } from "./differentiable.ts";
import { lintRoute } from "./lint-route.ts";

/**
 * Imports, parameters and members of layers that nothing reads. A model's parameters may be there for its map, and members
 * that are plain `values`, with nothing stored for them, for those who apply the layer.
 */
export function lintNames(bag: DiagnosticBag, module: Module, values: ReadonlySet<Member>): void {
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
  for (const item of module.items) if (item.kind === "layer" && item.forward !== null) lintLayer(bag, item, values);
}

function lintLayer(bag: DiagnosticBag, decl: LayerDecl, values: ReadonlySet<Member>): void {
  const used = namesIn([decl.params, decl.shape, decl.where, decl.members, decl.forward]);
  if (decl.keyword === "layer" || decl.keyword === "optimizer") {
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
  for (const member of decl.members) {
    const { name } = member;
    if (!used.has(name.text) && !values.has(member))
      bag.warn(
        "lint/unused",
        `member \`${name.text}\` of \`${decl.name.text}\` is never used`,
        [{ span: name.span, text: "its parameters would be stored for nothing" }],
        `use it in \`${decl.keyword === "optimizer" ? "step" : "forward"}\`, or remove it`,
      );
  }
}

/** Every name that is read: declarations and names of arguments (`name` of a record without a kind) are left out. */
function namesIn(tree: unknown): ReadonlySet<string> {
  const found = new Set<string>();
  const visit = (value: unknown): void => {
    if (typeof value !== "object" || value === null) return;
    if ("text" in value && "span" in value) found.add(withoutPrimes(String(value.text)));
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
    if (fn === program.main) lintRoute(bag, fn, at);
    for (const { role, node } of fn.outputs) {
      if (role !== "loss" || node.origin === null) continue;
      const chances = constantSum(node);
      const sum = chances ?? constantCount(node);
      if (sum !== null) {
        bag.warn(
          "lint/loss-axis",
          chances !== null
            ? "this loss sums probabilities over the axis that they add up to 1 over, so it is constant"
            : "this loss counts the choices over the axis that they are made from, so each counts once, whoever was chosen",
          [
            { span: sum, text: "always 1" },
            { span: node.origin, text: "in this loss" },
          ],
          chances !== null
            ? "reduce over the tokens first: `mean[T](p)`"
            : "count over the tokens: `sum[T, K](one_hot[N](i))`",
        );
      } else if (!hasGradient(node)) {
        bag.warn(
          "lint/loss-gradient",
          "no gradient flows from this loss to any parameter",
          [{ span: node.origin, text: "this loss" }],
          topologicalOrder([node]).some((n) => isOp(n, "pool") && n.attrs.scope === "global")
            ? "nothing flows through what is pooled over `global`: take the part that is to learn over `batch`"
            : "use something differentiable, such as probabilities, beside counts and indices",
        );
      }
    }
  }
}

/** The choice axis, if a node is `a * c / Σ a` over one choice: what a softmax or a renormalisation of a top-1 choice comes to. */
function constantWeight(node: Node): Axis | null {
  if (!isOp(node, "div")) return null;
  const [above, divisor] = node.inputs;
  const below = divisor === undefined ? undefined : withoutEpsilon(divisor);
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

/** What a small number was added to, so that nothing is divided by 0. */
function withoutEpsilon(node: Node): Node {
  const [x, y] = node.inputs;
  return isOp(node, "add") && x !== undefined && y !== undefined && isOp(y, "constant") && y.attrs.value < 1e-4
    ? x
    : node;
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

/** The place of a sum of `one_hot` over its own axis, on which a loss rests. */
function constantCount(loss: Node): Span | null {
  for (const node of topologicalOrder([loss])) {
    if (!isOp(node, "sum")) continue;
    const [of] = node.inputs;
    const hit = of !== undefined && isOp(of, "cast") ? of.inputs[0] : undefined;
    if (hit === undefined || !isOp(hit, "eq")) continue;
    if (hit.inputs.some((n) => isOp(n, "iota") && node.attrs.axes.includes(n.attrs.axis.name))) return node.origin;
  }
  return null;
}

function hasGradient(loss: Node): boolean {
  return differentiable(loss).some(
    (n) => (isOp(n, "param") || isOp(n, "input") || isOp(n, "call")) && n.type.dtype === "f32",
  );
}
