/** What pooling over sequences is made of: the reduction, how two parts are joined, and what joins without a trace. */
import type { Attrs } from "../graph/attrs.ts";

interface Pooling {
  readonly reduce: "sum" | "reduce_max" | "reduce_min";
  readonly join: "add" | "max" | "min";
  readonly initial: number;
}

const LARGEST = 3.4028234663852886e38;

export const pools = {
  sum: { reduce: "sum", join: "add", initial: 0 },
  max: { reduce: "reduce_max", join: "max", initial: -LARGEST },
  min: { reduce: "reduce_min", join: "min", initial: LARGEST },
} satisfies Readonly<Record<Attrs["pool"]["reduce"], Pooling>>;
