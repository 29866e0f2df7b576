/** Programs made node by node, for tests of what no layer's text has. */
import { expect } from "vitest";
import type { Node, Program } from "../../compiler/graph/node.ts";
import { Graph } from "../../compiler/graph/node.ts";
import { parseType } from "../../compiler/graph/parse.ts";
import { Builder } from "../../compiler/ops/builder.ts";

export interface Make {
  readonly b: Builder;
  readonly input: (name: string, type: string) => Node;
  readonly param: (path: string, type: string) => Node;
}

/** Results by name; an input or parameter of a name is made once. */
export function makeProgram(make: (m: Make) => Record<string, Node>): Program {
  const b = new Builder(new Graph());
  const inputs: Node<"input">[] = [];
  const input = (name: string, type: string): Node => {
    const node = b.must("input", [], { name, type: parseType(type) });
    if (!inputs.includes(node)) inputs.push(node);
    return node;
  };
  const outputs = Object.entries(
    make({ b, input, param: (path, type) => b.must("param", [], { path, type: parseType(type) }) }),
  );
  expect(outputs.length).toBeGreaterThan(0);
  return {
    main: { name: "main", inputs, outputs: outputs.map(([name, node]) => ({ name, role: "result", node })) },
    functions: new Map(),
  };
}
