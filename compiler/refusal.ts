/**
 * Why a model cannot generate, told at the op that needs other tokens, as its layer's body has it, at the layer, and at the place
 * outside of the library that uses it. Each place is told once, and only where the looking begins.
 */
import type { Diagnostic, Label } from "../grammar/diagnostic.ts";
import { textOf, type Span } from "../grammar/span.ts";
import type { Node, Program } from "./graph/node.ts";
import { allFunctions, outputNodes, topologicalOrder } from "./graph/traverse.ts";
import type { Peek } from "./passes/incrementalise.ts";
import { timeRule } from "./ops/time.ts";
import type { Site } from "./language/interpret/context.ts";

/** Where a program looks at later tokens. */
export interface Look {
  readonly peek: Peek;
  /** The expression, as the body of its layer has it; null where a pass made the op. */
  readonly place: Span | null;
  /** The expression on one line, or else the op's name. */
  readonly subject: string;
  readonly site: Site | undefined;
}

/** Each place once. `program` and `sites` are those of before the passes. */
export function findLooks(peeks: readonly Peek[], program: Program, sites: ReadonlyMap<Node, Site>): readonly Look[] {
  const nodes = allFunctions(program).flatMap((fn) => topologicalOrder(outputNodes(fn)));
  const told = new Set<Span | null>();
  return findCauses(peeks, nodes, sites).flatMap(({ peek, node }): Look[] => {
    const site = node === null ? undefined : sites.get(node);
    const place = site?.span ?? peek.origin;
    if (told.has(place)) return [];
    told.add(place);
    const text = place === null ? peek.op : textOf(place);
    return [{ peek, place, subject: text.includes("\n") ? peek.op : text, site }];
  });
}

export function describePeeks(
  peeks: readonly Peek[],
  program: Program,
  sites: ReadonlyMap<Node, Site>,
): readonly Diagnostic[] {
  return findLooks(peeks, program, sites).map(({ peek, place, subject, site }): Diagnostic => ({
    code: peek.code,
    severity: "error",
    message: peek.message(subject),
    labels: place === null ? [] : [{ span: place, text: "looks ahead here" }, ...whose(site)],
    notes: [],
    help: "a model with this layer can be tested, trained and evaluated; for generation, use one that routes each token by itself",
  }));
}

interface Cause {
  readonly peek: Peek;
  /** Null where the passes made it. */
  readonly node: Node | null;
}

/** What peeks by itself, and not only because it works on the result of a peek; a mere index along time is no cause either. */
function findCauses(peeks: readonly Peek[], nodes: readonly Node[], sites: ReadonlyMap<Node, Site>): readonly Cause[] {
  const found = peeks.map((peek) => ({ peek, nodes: nodesOf(peek, nodes) }));
  const peeking = new Set(found.flatMap((f) => f.nodes));
  const after = new Set<Node>();
  for (const node of nodes) if (node.inputs.some((i) => after.has(i) || peeking.has(i))) after.add(node);
  const all = found.map(({ peek, nodes: own }): Cause => ({
    peek,
    node: own.find((n) => sites.has(n)) ?? own[0] ?? null,
  }));
  const causes = all.filter(({ node }) => node === null || (!after.has(node) && node.inputs.length > 0));
  return causes.length > 0 ? causes : all;
}

/** The nodes before the passes, known by their op and the text that they came from, that need other tokens. */
function nodesOf(peek: Peek, nodes: readonly Node[]): readonly Node[] {
  return nodes.filter((n) => n.op === peek.op && n.origin === peek.origin && timeRule(n) !== "pointwise");
}

function whose(site: Site | undefined): readonly Label[] {
  const layers = site?.layers ?? [];
  const decl = layers.at(-1)?.layer;
  if (decl === undefined) return [];
  const used = layers.findLast(({ span }) => span.file.isLibrary !== true && span.file !== decl.name.span.file);
  return [
    { span: decl.name.span, text: `in the ${decl.keyword} \`${decl.name.text}\`` },
    ...(used === undefined ? [] : [{ span: used.span, text: "used here" }]),
  ];
}
