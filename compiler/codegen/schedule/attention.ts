/** Kernels of attention and of its gradient: which of their results are worked out together, and what lies in the caches before. */
import type { Node } from "../../graph/node.ts";
import { attrsKey } from "../../graph/node.ts";
import type { Axis } from "../../graph/type.ts";
import { TIME } from "../../graph/type.ts";
import { valueChannel } from "../../ops/attend.ts";
import { isMismatch } from "../../ops/mismatch.ts";
import { statesOf } from "../../ops/states.ts";
import type { AttendGradKernel, AttendKernel } from "./kernel.ts";
import { inState } from "./kernel.ts";
import { placeLight } from "./places.ts";
import { countStorage } from "./storage.ts";
import type { Scheduling } from "./scheduling.ts";

/** The kernel of the same softmax, whose other result this is, or one of its own. */
export function addAttention(s: Scheduling, node: Node<"attend">): AttendKernel {
  for (const kernel of s.clusters.kernels)
    if (kernel.kind === "attend" && isAlike(kernel.attend, node) && s.clusters.join(kernel, [node])) return kernel;
  return s.clusters.add<AttendKernel>({ kind: "attend", computes: [node], stores: [], attend: node });
}

/** Keys' and values' gradients go together where they have the same heads and the device binds so many buffers; that of the queries is added up the other way. */
export function addAttentionGradient(s: Scheduling, node: Node<"attend_grad">): AttendGradKernel {
  const heads = (gradient: Node<"attend_grad">): string =>
    ownHeads(gradient)
      .map((a) => a.name)
      .sort()
      .join();
  for (const kernel of s.clusters.kernels) {
    if (kernel.kind !== "attend-grad" || !isAlike(kernel.gradient, node)) continue;
    const byQuery = [kernel.gradient, node].some((gradient) => gradient.attrs.part === "q");
    if (byQuery || heads(kernel.gradient) !== heads(node)) continue;
    if (countStorage(s, kernel) + 1 > s.device.maxStorageBuffers) continue;
    if (s.clusters.join(kernel, [node])) return kernel;
  }
  return s.clusters.add<AttendGradKernel>({ kind: "attend-grad", computes: [node], stores: [], gradient: node });
}

/** Heads of what the gradient is of: the other heads of the queries share it. */
export function ownHeads(gradient: Node<"attend_grad">): readonly Axis[] {
  const [q, , v] = gradient.inputs as readonly [Node, Node, Node];
  const { channel, part } = gradient.attrs;
  const value = valueChannel(q.type, v.type, channel);
  if (isMismatch(value)) throw new Error(value.message);
  const own = part === "v" ? value.name : channel;
  return gradient.type.axes.filter((a) => a.name !== TIME && a.name !== own);
}

/** The same but for what is asked for. */
function isAlike<O extends "attend" | "attend_grad">(a: Node<O>, b: Node<O>): boolean {
  const key = ({ attrs }: Node<O>): string => attrsKey({ ...attrs, part: null });
  return a.inputs.every((x, i) => x === b.inputs[i]) && a.inputs.length === b.inputs.length && key(a) === key(b);
}

/** This step's keys and values go into the caches before attention reads them. */
export function appendToCaches(s: Scheduling): void {
  for (const kernel of [...s.clusters.kernels]) {
    if (kernel.kind !== "attend") continue;
    const { attend } = kernel;
    const [, keys, values] = attend.inputs as readonly [Node, Node, Node];
    const apart = s.cuts.memory.has(keys) || s.cuts.memory.has(values);
    for (const state of statesOf(attend)) {
      const node = state.part === "k" ? keys : values;
      const store = inState(node, state);
      const owner = s.clusters.ownerOf(node);
      if (owner?.kind === "contraction") s.clusters.store(owner, store);
      s.clusters.appendsTo(attend, owner?.kind === "contraction" ? owner : placeLight(s, store, apart));
    }
  }
}
