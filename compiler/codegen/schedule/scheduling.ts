/** What scheduling is given, what its steps share, and what it makes. */
import type { Node } from "../../graph/node.ts";
import type { DeviceFacts } from "../../plan/plan.ts";
import type { Role } from "./classify.ts";
import type { Clusters } from "./clusters.ts";
import type { Kernel, Regime } from "./kernel.ts";
import type { Layouts } from "./layout.ts";

export interface ScheduleOptions {
  readonly regime: Regime;
  readonly device: DeviceFacts;
  readonly layouts: Layouts;
  /** Number of parts that a parameter is cut into, by its path in the function. */
  readonly partsOf: (path: string) => number;
  readonly cuts: Cuts;
}

/** What is not fused although it could be. */
export interface Cuts {
  /** Left in memory although one kernel could do with it at once; keys and values go into their caches by a kernel of their own. */
  readonly memory: ReadonlySet<Node>;
  /** Begin a kernel instead of joining one that is there. */
  readonly apart: ReadonlySet<Node>;
}

/** What the steps of scheduling share. */
export interface Scheduling extends ScheduleOptions {
  readonly clusters: Clusters;
  readonly roles: ReadonlyMap<Node, Role>;
  readonly uses: Uses;
}

export interface Schedule {
  readonly kernels: readonly Kernel[];
  /** The kernel that leaves a node in memory. */
  readonly ownerOf: (node: Node) => Kernel | null;
  /** What a kernel reads of other kernels and of the function's inputs. */
  readonly reads: (kernel: Kernel) => ReadonlySet<Node>;
  /** Walks over the graph that scheduling took. */
  readonly walks: number;
  /** How many storage buffers a kernel binds. */
  readonly storage: (kernel: Kernel) => number;
  /** Where to cut a kernel so that what comes of it binds at most `limit`, or nearer to that; null where no cut helps. */
  readonly cut: (kernel: Kernel, limit: number) => Cut | null;
}

export interface Uses {
  readonly users: ReadonlyMap<Node, readonly Node[]>;
  /** Nodes that have to be in memory whoever reads them. */
  readonly required: ReadonlySet<Node>;
  readonly isFree: (node: Node) => boolean;
  readonly orderOf: (node: Node) => number;
}

export interface Cut {
  /** How: see `Cuts`. */
  readonly how: keyof Cuts;
  readonly node: Node;
}

/** How much work the scheduling of one function was. */
export interface ScheduleWork {
  readonly schedules: number;
  /** Over the graph, from a kernel to what lies in memory. */
  readonly walks: number;
}
