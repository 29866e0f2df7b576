/** The states of causal ops once they have been named: their ids, and how many rows each holds. */
import type { OpName } from "../graph/attrs.ts";
import type { Node } from "../graph/node.ts";
import type { Axis } from "../graph/type.ts";
import type { OpDef, StateShape } from "./define.ts";
import { ops } from "./table.ts";

/** A state with its id, which has `#` for the layer. */
export interface NamedState extends StateShape {
  readonly id: string;
}

/** What a node keeps; nothing for most. Throws before `incrementalise` has named it. */
export function statesOf(node: Node): readonly NamedState[] {
  const shapes = shapesOf(node);
  if (shapes.length === 0) return [];
  const { state } = node.attrs as { readonly state: string | null };
  if (state === null) throw new Error(`${node.op} has no state: incrementalise comes first`);
  return shapes.map((shape) => ({ ...shape, id: `${state}.${shape.part}` }));
}

/** The same without ids. */
export function shapesOf(node: Node): readonly StateShape[] {
  const row = ops[node.op] as OpDef<OpName>;
  return row.states === undefined ? [] : row.states(node);
}

export function stateOf(node: Node, part: string): NamedState {
  const found = statesOf(node).find((s) => s.part === part);
  if (found === undefined) throw new Error(`${node.op} keeps no ${part}`);
  return found;
}

/** Elements of one row. */
export function rowWidth(row: readonly Axis[]): number {
  return row.reduce((n, a) => n * (a.size.value ?? Number.NaN), 1);
}
