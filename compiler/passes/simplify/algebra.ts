/** Arithmetic that needs no arithmetic: identities, short powers, constants. */
import type { OpName } from "../../graph/attrs.ts";
import type { Node } from "../../graph/node.ts";
import { isOp } from "../../graph/node.ts";
import { sameType } from "../../graph/type.ts";
import { type OpDef } from "../../ops/define.ts";
import { isMismatch } from "../../ops/mismatch.ts";
import { ops } from "../../ops/table.ts";
import type { SimplifyRule } from "./rule.ts";

export const algebra: readonly SimplifyRule[] = [
  { name: "detach(x) = x where no gradient is taken", build: (n) => (isOp(n, "detach") ? n.inputs[0]! : null) },
  { name: "pool(x) = x for one sequence", build: (n) => (isOp(n, "pool") ? n.inputs[0]! : null) },
  {
    name: "cast to its own dtype is x",
    build: (n) => (isOp(n, "cast") && n.inputs[0]!.type.dtype === n.attrs.to ? n.inputs[0]! : null),
  },
  { name: "--x = x", build: (n) => (isOp(n, "neg") && isOp(n.inputs[0]!, "neg") ? n.inputs[0]!.inputs[0]! : null) },
  { name: "x + 0 = 0 + x = x", build: (n) => unit(n, "add", 0, true) },
  { name: "x - 0 = x", build: (n) => unit(n, "sub", 0, false) },
  { name: "x * 1 = 1 * x = x", build: (n) => unit(n, "mul", 1, true) },
  { name: "x / 1 = x", build: (n) => unit(n, "div", 1, false) },
  { name: "x ^ 1 = x", build: (n) => unit(n, "pow", 1, false) },
  {
    name: "x ^ 2 = x * x, x ^ 3 = x * x * x",
    build: (n, b) => {
      const [x, e] = powerOf(n);
      if (x === null || (e !== 2 && e !== 3)) return null;
      const square = b.must("mul", [x, x], {}, n.origin);
      return e === 2 ? square : b.must("mul", [square, x], {}, n.origin);
    },
  },
  {
    name: "x ^ 0.5 = sqrt(x), x ^ -0.5 = 1 / sqrt(x)",
    build: (n, b) => {
      const [x, e] = powerOf(n);
      return x === null || Math.abs(e) !== 0.5 ? null : b.must(e > 0 ? "sqrt" : "rsqrt", [x], {}, n.origin);
    },
  },
  {
    name: "1 / sqrt(x) = rsqrt(x)",
    build: (n, b) =>
      isOp(n, "div") && constantOf(n.inputs[0]!) === 1 && isOp(n.inputs[1]!, "sqrt")
        ? b.must("rsqrt", n.inputs[1]!.inputs, {}, n.origin)
        : null,
  },
  {
    name: "a map of constants is a constant",
    build: (n, b) => {
      const row = ops[n.op] as OpDef<OpName>;
      const values = n.inputs.map(constantOf);
      if (
        row.lowering.kind !== "map" ||
        n.type.axes.length > 0 ||
        values.length === 0 ||
        values.some((v) => v === null)
      )
        return null;
      const inputs = values.map((v) => ({ axes: [], data: Float64Array.of(v!) }));
      const [value] = row.evaluate(inputs, n.attrs, n.type, () => 1).data;
      // What its dtype does not hold is left to the device.
      const made = value === undefined ? null : b.add("constant", [], { value, dtype: n.type.dtype });
      return made === null || isMismatch(made) ? null : made;
    },
  },
];

/** x when the node is `op(x, unit)`, or `op(unit, x)` where that is the same, and x has the node's type. */
function unit(node: Node, op: OpName, value: number, commutes: boolean): Node | null {
  if (node.op !== op) return null;
  const [x, y] = node.inputs as [Node, Node];
  const kept = constantOf(y) === value ? x : commutes && constantOf(x) === value ? y : null;
  return kept !== null && sameType(kept.type, node.type) ? kept : null;
}

function powerOf(node: Node): readonly [Node | null, number] {
  const exponent = isOp(node, "pow") ? constantOf(node.inputs[1]!) : null;
  return exponent === null ? [null, 0] : [node.inputs[0]!, exponent];
}

function constantOf(node: Node): number | null {
  if (isOp(node, "constant")) return node.attrs.value;
  return isOp(node, "broadcast") ? constantOf(node.inputs[0]!) : null;
}
