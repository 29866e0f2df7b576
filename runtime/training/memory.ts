/** What a training plan takes on the device, told from the plan alone before anything is allocated. */
import { heldBytes, type Buffer, type Plan } from "../../compiler/plan/plan.ts";
import { GRADIENT, isSaved, OPTIMIZER } from "../../compiler/index.ts";
import { bytesOf, type StepSizes } from "../gpu/buffers.ts";

/** Bytes by what they are for. */
export interface TrainingMemory {
  readonly weights: number;
  readonly gradients: number;
  /** What the optimizer remembers. */
  readonly optimizer: number;
  /** What layers were given, kept from forward to backward. */
  readonly inputs: number;
  /** The work of one layer and of what is around the layers. */
  readonly work: number;
  /** Tables, losses, and whatever else is small. */
  readonly rest: number;
  /** While samples are written, which takes the weights once more. */
  readonly samples: number;
  readonly total: number;
}

export function memoryOf(plan: Plan, sizes: StepSizes, samples = 0): TrainingMemory {
  const weights = plan.parameters.reduce((n, p) => n + p.parts.reduce((m, part) => m + part.bytes, 0), 0);
  const sums = { gradients: 0, optimizer: 0, inputs: 0, work: 0, rest: 0, samples };
  const shared = new Map<string, { readonly purpose: keyof typeof sums; bytes: number }>();
  for (const buffer of plan.buffers) {
    const key = buffer.share === null ? buffer.id : `shared ${buffer.share}`;
    const known = shared.get(key) ?? { purpose: purposeOf(buffer), bytes: 0 };
    known.bytes = Math.max(known.bytes, bytesOf(buffer, sizes));
    shared.set(key, known);
  }
  for (const { purpose, bytes } of shared.values()) sums[purpose] += bytes;
  for (const state of plan.states) sums.rest += heldBytes(state, sizes);
  for (const { axes } of plan.tables)
    sums.rest += bytesOf(
      { elements: axes.reduce<Buffer["elements"]>((n, a) => ["*", n, a.size], 1), store: "f32" },
      sizes,
    );
  const total = weights + Object.values(sums).reduce((a, b) => a + b, 0);
  return { weights, ...sums, total };
}

function purposeOf({ id, role }: Buffer): "gradients" | "optimizer" | "inputs" | "work" | "rest" {
  if (role === "temporary") return isSaved(id) ? "inputs" : "work";
  if (id.startsWith(GRADIENT)) return "gradients";
  return id.startsWith(OPTIMIZER) ? "optimizer" : "rest";
}
