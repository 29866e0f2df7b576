/**
 * The text form of a program. It names everything that takes part in a node's identity and leaves out spans, and
 * `parse.ts` reads it back:
 *
 *     fn block(x: f32[T, D=48]) {
 *       %1 = param {path: "blocks[#].norm.w"} : f32[D=48]
 *       %2 = mul(x, %1) : f32[T, D=48]
 *       result out = %2
 *     }
 *
 * Nodes are numbered from 1 in topological order in each function. Attribute values are JSON, with axes as `<D=48>`.
 */
import { Dim } from "./dim.ts";
import type { GraphFunction, Node, Program } from "./node.ts";
import { outputNodes, topologicalOrder } from "./traverse.ts";
import type { Axis } from "./type.ts";
import { formatAxis, formatType } from "./type.ts";

export function printProgram(program: Program): string {
  const functions = [...program.functions.values()].map((fn) => printFunction(fn));
  return [...functions, printFunction(program.main, "main")].join("\n");
}

export function printFunction(fn: GraphFunction, keyword: "fn" | "main" = "fn"): string {
  const names = new Map<Node, string>(fn.inputs.map((node) => [node, node.attrs.name]));
  const lines: string[] = [];
  for (const node of topologicalOrder(outputNodes(fn))) {
    if (names.has(node)) continue;
    const name = `%${lines.length + 1}`;
    lines.push(`  ${name} = ${printNode(node, (input) => names.get(input) ?? "?")}`);
    names.set(node, name);
  }
  const head = fn.inputs.map((node) => `${node.attrs.name}: ${formatType(node.type)}`).join(", ");
  const outputs = fn.outputs.map((o) => `  ${o.role} ${o.name} = ${names.get(o.node) ?? "?"}`);
  return `${[`${keyword} ${fn.name}(${head}) {`, ...lines, ...outputs, "}"].join("\n")}\n`;
}

/** One node on one line, its inputs by the names that `nameOf` gives. */
export function printNode(node: Node, nameOf: (input: Node) => string): string {
  const inputs = node.inputs.length === 0 ? "" : `(${node.inputs.map(nameOf).join(", ")})`;
  // A type among the attributes of a source or call is the node's own.
  const attrs = Object.entries(node.attrs).filter(([key]) => key !== "type");
  const list = attrs.map(([key, value]) => `${key}: ${printValue(value)}`).join(", ");
  return `${node.op}${inputs}${attrs.length === 0 ? "" : ` {${list}}`} : ${formatType(node.type)}`;
}

function printValue(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(printValue).join(", ")}]`;
  if (isAxis(value)) return `<${formatAxis(value)}>`;
  return JSON.stringify(value);
}

function isAxis(value: unknown): value is Axis {
  return typeof value === "object" && value !== null && "size" in value && value.size instanceof Dim;
}
