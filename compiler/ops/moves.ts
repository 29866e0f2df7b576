/**
 * Along which axes an op walks an input in step with its result: there, an element of the result needs the input at its own index and
 * nowhere else. Along any other axis the input is wanted at places that the op computes, or at all of them. By lowering kind alone.
 */
import type { Node } from "../graph/node.ts";
import { TIME } from "../graph/type.ts";
import type { Lowering } from "./define.ts";
import { ops } from "./table.ts";

/** Of the labels `own` of the result, those at which input `i` is wanted at the same index. */
export function ownLabels(node: Node, i: number, own: readonly string[]): readonly string[] {
  const { axes } = node.inputs[i]!.type;
  return own.filter((label) => axes.some((a) => a.name === label) && isInStep(node, label));
}

/** For a label that both the result and the input have. */
function isInStep(node: Node, label: string): boolean {
  const lowering = ops[node.op].lowering as Lowering<typeof node.op>;
  switch (lowering.kind) {
    case "source":
    case "map":
    case "reduce":
    case "contraction":
    case "call":
      return true;
    case "view": {
      const out = new Map(node.type.axes.map((a) => [a.name, `<${a.name}>`]));
      return lowering.index(out, node.attrs, node.inputs[0]!.type, (size) => size.key).get(label) === out.get(label);
    }
    // Rows of one place of the result may be anywhere along what is summed over, which the result lacks.
    case "spread":
      return true;
    case "concat":
    case "gather":
    case "choice":
    case "running":
      return (node.attrs as { readonly axis: string }).axis !== label;
    case "delay":
    case "scan":
    case "memory":
    case "attend":
      return label !== TIME;
    case "attend-grad":
      return false;
    default:
      return lowering satisfies never;
  }
}
