/** What a dispatch is called in profiles and where its text is: from the parameters it reads and the ops it computes. */
import { formatSpan } from "../../../grammar/place.ts";
import type { Node } from "../../graph/node.ts";
import { ops } from "../../ops/table.ts";
import type { Kernel } from "../schedule/kernel.ts";

export function labelKernel(kernel: Kernel, params: readonly string[]): string {
  const where = commonPath(params);
  const ops = [...new Set(kernel.computes.map((n) => n.op))];
  switch (kernel.kind) {
    case "contraction":
      return kernel.combine === null ? where : `${where} combined`;
    case "attend":
      return `${kernel.attend.attrs.state ?? "attend"}`;
    case "attend-grad":
      return `attention's gradient by ${kernel.computes.map((n) => (n as typeof kernel.gradient).attrs.part).join("·")}`;
    case "recurrence":
      return `${kernel.node.attrs.state ?? kernel.node.op}`;
    case "group":
      return "group choices by bank";
    case "outer":
      return `${kernel.outer.left.labels.join("·")} by ${kernel.outer.right.labels.join("·")} over tokens`;
    case "spread":
      return `rows added up by ${kernel.spread.attrs.axis.name}`;
    case "row":
    case "map": {
      const what = kernel.stores.some((s) => s.state !== null) ? [...ops, "append"] : ops;
      return [where, what.slice(-3).join("·")].filter((t) => t !== "").join(" ");
    }
    case "call":
      return kernel.path;
  }
}

/** `a.b.q.w, a.b.k.w` as `a.b q·k`: the part that all share, then what tells them apart. */
function commonPath(paths: readonly string[]): string {
  const split = paths.map((p) => p.replace(/\.w$/, "").split("."));
  const [first] = split;
  if (first === undefined) return "";
  if (split.length === 1) return first.join(".");
  let same = 0;
  while (split.every((p) => p.length > same + 1 && p[same] === first[same])) same++;
  return `${first.slice(0, same).join(".")} ${split.map((p) => p.slice(same).join(".")).join("·")}`.trim();
}

/** `file.moe:12:3` of the node that a kernel is mostly about. */
export function originOf(kernel: Kernel): string | null {
  const nodes: readonly Node[] = [...kernel.computes, ...kernel.stores.map((s) => s.node)];
  const heavy = nodes.find(
    (n) =>
      n.origin !== null &&
      ["contraction", "attend", "attend-grad", "choice", "scan", "memory"].includes(ops[n.op].lowering.kind),
  );
  const span = (heavy ?? nodes.find((n) => n.origin !== null))?.origin ?? null;
  return span === null ? null : formatSpan(span);
}
