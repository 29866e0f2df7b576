/**
 * Pooling over sequences, in the program for one of them: its own value. No gradient flows through what is pooled over a whole
 * step, for the micro-batches before are gone when it is taken.
 */
import type { Attrs } from "../graph/attrs.ts";
import type { Rows } from "./define.ts";
import { checkDtypes, one } from "./typing.ts";
import { Dim } from "../graph/dim.ts";

export const pool = {
  pool: {
    infer: (inputs) => checkDtypes(inputs, ["f32"]) ?? one(inputs),
    evaluate: (inputs) => one(inputs),
    vjp: (_b, { attrs }, ct) => [attrs.scope === "global" ? null : ct],
    time: () => "pointwise",
    flops: () => Dim.of(0),
    lowering: { kind: "map", scalar: ([x = ""]) => x },
    samples: [
      {
        attrs: { scope: "batch", reduce: "sum", buffer: null },
        inputs: [{ axes: "D=3", data: [1, -2, 3] }],
        output: [1, -2, 3],
      },
    ],
  },
} satisfies Rows<"pool">;

/** What pooling is made of: the reduction, how two parts are joined, and what joins without a trace. */
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
