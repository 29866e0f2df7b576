/**
 * The graph: one kind of immutable, hash-consed node. Equality is identity inside one `Graph`; everything else (users,
 * order, buffers) is derived. A model is a `Program`: a main function and one function per distinct kind of layer that
 * a `for` runs over, so that neither compile time nor kernels grow with depth.
 */
import type { Span } from "../../grammar/span.ts";
import type { Attrs, OpName } from "./attrs.ts";
import type { TensorType } from "./type.ts";
import { formatType } from "./type.ts";

export interface Node<O extends OpName = OpName> {
  readonly op: O;
  readonly inputs: readonly Node[];
  readonly attrs: Attrs[O];
  readonly type: TensorType;
  /** The `.moe` text that this node came from; null for nodes that passes made. */
  readonly origin: Span | null;
  /** Creation order within its graph: inputs have smaller ids. */
  readonly id: number;
}

/** Makes nodes. The same op, inputs, attrs and type give the same node. */
export class Graph {
  readonly #nodes = new Map<string, Node>();

  /** The only constructor of nodes; types come from the op's row (see `ops/builder.ts`). */
  intern<O extends OpName>(
    op: O,
    inputs: readonly Node[],
    attrs: Attrs[O],
    type: TensorType,
    origin: Span | null,
  ): Node<O> {
    const key = `${op}(${inputs.map((n) => n.id).join(",")})${attrsKey(attrs)}:${formatType(type)}`;
    const known = this.#nodes.get(key);
    if (known !== undefined) return known as Node<O>;
    const node: Node<O> = { op, inputs, attrs, type, origin, id: this.#nodes.size };
    this.#nodes.set(key, node);
    return node;
  }
}

/**
 * What a function gives back. All but results ride beside them and vanish where nobody asks for them. An `update` is what a
 * state is after an optimizer step, an `accumulator` what a sum over the step's micro-batches has come to after this one, a `gradient`
 * that of a parameter.
 */
export interface Output {
  readonly name: string;
  readonly role: "result" | "loss" | "metric" | "update" | "accumulator" | "gradient";
  readonly node: Node;
}

export interface GraphFunction {
  readonly name: string;
  /** Input nodes in the order of a call's arguments. */
  readonly inputs: readonly Node<"input">[];
  readonly outputs: readonly Output[];
}

export interface Program {
  readonly main: GraphFunction;
  readonly functions: ReadonlyMap<string, GraphFunction>;
}

/** Narrows a node to one op. */
export function isOp<O extends OpName>(node: Node, op: O): node is Node<O> {
  return node.op === op;
}

/** Canonical text of attributes, whatever order they were written in: sizes by key, spans left out. */
export function attrsKey(attrs: object): string {
  const sorted = Object.fromEntries(Object.entries(attrs).sort(([a], [b]) => (a < b ? -1 : 1)));
  return JSON.stringify(sorted, (key, value: unknown) => {
    if (key === "origin") return undefined;
    return typeof value === "object" && value !== null && "key" in value && "times" in value
      ? (value as { key: string }).key
      : value;
  });
}
