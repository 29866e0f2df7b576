/** Makes the row of an op that computes each element from the elements at the same named index. */
import type { Attrs, OpName } from "../graph/attrs.ts";
import type { Node } from "../graph/node.ts";
import type { ScalarFunction } from "../graph/scalar.ts";
import type { DType } from "../graph/type.ts";
import type { Shorthands } from "./shorthands.ts";
import type { Lanes, OpDef, Sample } from "./define.ts";
import { fitGradient } from "./gradient.ts";
import { checkDtypes, elementCount, joinTypes } from "./typing.ts";
import { mapValues, sizedAxes } from "./values.ts";

/** The ops without attributes; their rows are told apart by the table alone. */
type Plain = { [O in OpName]: keyof Attrs[O] extends never ? O : never }[OpName];

export type MapSample = Pick<Sample<"add">, "inputs" | "output">;

/** One or two operands of one dtype. */
export interface MapRow {
  /** Dtypes that the operands may have; all have the same. */
  readonly takes: readonly DType[];
  /** Dtype of the result, that of the operands when left out. */
  readonly gives?: DType;
  readonly fn: ScalarFunction;
  /** Gradients before they are summed back over broadcast axes; null when the op has none. */
  readonly vjp: ((b: Shorthands, g: MapGradient) => readonly (Node | null)[]) | null;
  readonly wgsl: (a: string, b: string, dtype: DType, lanes: Lanes) => string;
  readonly samples: readonly MapSample[];
}

/** What an elementwise gradient is made of: operands, result and the result's gradient. */
export interface MapGradient {
  readonly x: Node;
  /** The second operand; the first where there is none. */
  readonly y: Node;
  readonly out: Node;
  readonly ct: Node;
}

export function mapRow<O extends Plain>(row: MapRow): OpDef<O> {
  const { vjp } = row;
  return {
    infer: (inputs) => checkDtypes(inputs, row.takes) ?? joinTypes(row.gives ?? inputs[0]?.dtype ?? "f32", inputs),
    evaluate: (inputs, _attrs, type, sizes) =>
      mapValues(sizedAxes(type, sizes), inputs, (a, b) => row.fn.value(a, b, type.dtype)),
    vjp:
      vjp === null
        ? null
        : (b, node, ct) => {
            const [x, y = x] = node.inputs;
            if (x === undefined || y === undefined) throw new Error("a map needs an operand");
            return fitAll(b, node.inputs, vjp(b, { x, y, out: node, ct }));
          },
    time: () => "pointwise",
    flops: (_inputs, _attrs, out) => elementCount(out),
    lowering: {
      kind: "map",
      scalar: ([a = "", b = ""]: readonly string[], _attrs: Attrs[O], dtype: DType, lanes: Lanes = 1) =>
        row.wgsl(a, b, dtype, lanes),
    },
    samples: row.samples.map((sample) => ({ ...sample, attrs: {} as Attrs[O] })),
  };
}

/** Gradients in their inputs' types; none for inputs that are not floats. */
export function fitAll(
  b: Shorthands,
  inputs: readonly Node[],
  gradients: readonly (Node | null)[],
): readonly (Node | null)[] {
  return inputs.map((input, i) => {
    const gradient = gradients[i] ?? null;
    return gradient === null || input.type.dtype !== "f32" ? null : fitGradient(b, gradient, input.type);
  });
}

/** A literal for the lanes: WGSL's builtins take no mix of scalars and vectors. */
export function splat(literal: string, dtype: DType, lanes: Lanes): string {
  return lanes === 4 ? `vec4<${dtype}>(${literal})` : literal;
}
