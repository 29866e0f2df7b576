/** What lowering a function's kernels needs to know beside the kernels: the device, the regime, and where things lie. */
import type { Node } from "../../graph/node.ts";
import type { Binding, DeviceFacts, Dispatch, KernelModule, Size } from "../../plan/plan.ts";
import type { Kernel, Regime, Store } from "../schedule/kernel.ts";
import type { StoreType } from "../../plan/store.ts";
import type { Memory, ParameterPlace } from "./place.ts";

export interface LowerContext {
  readonly device: DeviceFacts;
  readonly regime: Regime;
  /** Memory as one kernel sees it: what it computes itself is not there. */
  readonly memoryFor: (kernel: Kernel) => Memory;
  /** Where a store of this function goes. */
  readonly targetOf: (store: Store) => Binding;
  /** Buffers that no node stands for, such as the choice order of an index, by id: made on first use. */
  readonly scratch: (id: string, type: "f32" | "u32", elements: Size) => Binding;
  /** A parameter by its path inside the function. */
  readonly parameterOf: (param: Node<"param">) => ParameterPlace;
  readonly force: {
    readonly contraction?: string;
    readonly outer?: string;
    readonly attend?: string;
    readonly attendGrad?: string;
    readonly delta?: string;
  };
  /** What rows that a position each has, such as keys, are kept as between steps. */
  readonly cache: StoreType;
  /** The most tokens that a step holds of one sequence; null: a whole sequence, however long. */
  readonly stepTokens: number | null;
}

/** A kernel as code, before it has its place in a plan. */
export interface Lowered {
  readonly module: KernelModule;
  readonly bindings: readonly Binding[];
  readonly grid: Dispatch["grid"];
  readonly constants: Readonly<Record<string, number>>;
  /** A further dispatch of a kernel, which ends what the first has worked out: its operations are counted there. */
  readonly ends?: true;
}
