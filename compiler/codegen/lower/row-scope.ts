/** What the stages of a row kernel share while they are written. */
import type { Node } from "../../graph/node.ts";
import type { Axis } from "../../graph/type.ts";
import type { Emitter } from "./emit.ts";
import type { Index } from "./indexing.ts";
import type { Memory } from "./place.ts";
import type { Team } from "./row-team.ts";

/** What a row kernel has computed: a register, or a list in workgroup memory over the axes inside the row. */
export type Held =
  | { readonly kind: "scalar"; readonly name: string }
  | { readonly kind: "list"; readonly name: string; readonly axes: readonly Axis[] };

/** The state of a row kernel while its stages are written. */
export interface RowScope {
  readonly e: Emitter;
  readonly memory: Memory;
  readonly team: Team;
  readonly rowIndex: Index;
  /** Axes of a node inside the row. */
  readonly inside: (node: Node) => readonly Axis[];
  readonly held: Map<Node, Held>;
  /** The other result of the same selection, when this kernel computes it too. */
  readonly twin: (node: Node<"topk">, part: "values" | "indices") => Node | null;
}
