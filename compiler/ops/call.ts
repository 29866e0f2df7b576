/** A layer's function applied. Its meaning, gradient and causality are those of the function: passes look inside. */
import { Dim } from "../graph/dim.ts";
import type { Rows } from "./define.ts";
import { distinctAxes } from "./typing.ts";

export const call = {
  call: {
    infer: (inputs, { type }) =>
      distinctAxes(
        type.dtype,
        type.axes,
        inputs.map((_, i) => i),
      ),
    evaluate: () => {
      throw new Error("a call has no meaning without its program; the interpreter runs it");
    },
    vjp: null,
    time: () => "future",
    flops: () => Dim.of(0),
    lowering: { kind: "call" },
    samples: [],
  },
} satisfies Rows<"call">;
