/**
 * How long a model's sequences may be, by what it is made of: a table that positions pick rows from has no row beyond its end; layers
 * that turn by positions say how far theirs are good (a member `horizon`); else it is what the model is said to have been made for,
 * its parameter `context`.
 */
import type { Node } from "../../graph/node.ts";
import { isOp } from "../../graph/node.ts";
import { allFunctions, outputNodes, topologicalOrder } from "../../graph/traverse.ts";
import type { Instance, Value } from "../interpret/value.ts";
import { buildProgram, type Model } from "./model.ts";

export interface Horizon {
  /** The most tokens of a sequence. */
  readonly tokens: number;
  /** Whether nothing can be computed beyond it; else it would be no text that the model knows. */
  readonly isHard: boolean;
}

/** The nearest; null where nothing says. */
export function horizonOf(model: Model): Horizon | null {
  const soft = turnsOf(model.instance);
  const context = soft.length > 0 ? Math.min(...soft) : numberOf(model.args.get("context"));
  const table = positionsOf(model);
  if (table !== null && table <= (context ?? table)) return { tokens: table, isHard: true };
  return context === null ? null : { tokens: context, isHard: false };
}

/** The rows of the shortest table whose rows are picked by position; null where there is none. */
export function positionsOf(model: Model): number | null {
  const program = buildProgram(model.instance);
  const nodes = allFunctions(program).flatMap((fn) => topologicalOrder(outputNodes(fn)));
  const sizes = nodes.flatMap((node) => {
    if (!isOp(node, "take")) return [];
    const [table, index] = node.inputs as readonly [Node, Node];
    const size = table.type.axes.find((a) => a.name === node.attrs.axis)?.size.value;
    return size == null || !isPosition(index) ? [] : [size];
  });
  return sizes.length === 0 ? null : Math.min(...sizes);
}

function isPosition(node: Node): boolean {
  if (isOp(node, "position")) return true;
  return (isOp(node, "cast") || isOp(node, "rename")) && isPosition(node.inputs[0]!);
}

/** What layers say of themselves. */
function turnsOf(instance: Instance): readonly number[] {
  return [...instance.members].flatMap(([name, member]): readonly number[] => {
    if (member.kind === "layer") return turnsOf(member.instance);
    if (member.kind === "stack") return member.layers.flatMap(turnsOf);
    if (member.kind !== "value" || name !== "horizon") return [];
    const value = numberOf(member.value);
    return value === null ? [] : [value];
  });
}

function numberOf(value: Value | undefined): number | null {
  if (value?.kind === "number") return Math.floor(value.value);
  return value?.kind === "axis" ? value.size.value : null;
}
