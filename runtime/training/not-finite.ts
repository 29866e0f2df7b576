/** What a step that was not applied is told with: which gradient, of which data. The parameters are still those that it was computed with. */
import type { HostValues } from "../../compiler/plan/plan.ts";
import { failure, type MoeError } from "../../grammar/diagnostic.ts";
import type { Batch } from "./data/batches.ts";
import { joinRows } from "./rows.ts";
import type { Trainer } from "./trainer.ts";

/**
 * Runs the micro-batches of the step once more, one by one, until one leaves a gradient that is not finite. `checkpoint`: the last one that was
 * written, from before.
 */
export async function describeNotFinite(
  trainer: Trainer,
  step: number,
  host: HostValues,
  batches: readonly Batch[],
  checkpoint: string | null,
): Promise<MoeError> {
  const last =
    checkpoint === null ? "no checkpoint was written before it" : `the last checkpoint before it is ${checkpoint}`;
  trainer.restart(host);
  for (const [micro, batch] of batches.entries()) {
    await trainer.micro(joinRows(batch));
    const path = await firstNotFinite(trainer);
    if (path === null) continue;
    const places = [...new Set(batch.places)];
    return failure(
      "train/not-finite",
      `step ${step}: the gradient of \`${path}\` is not finite in micro-batch ${micro + 1} of ${batches.length}`,
      {
        notes: [
          `its sequences are ${places.slice(0, 4).join("; ")}${places.length > 4 ? `; and ${places.length - 4} more` : ""}`,
          last,
        ],
        help: "lower the rate or clip to a smaller norm, or look at these texts",
      },
    );
  }
  return failure("train/not-finite", `step ${step}: the norm of all gradients passes what float32 holds`, {
    notes: [last],
    help: "lower the rate: the weights have grown so that gradients overflow",
  });
}

async function firstNotFinite(trainer: Trainer): Promise<string | null> {
  for (const path of trainer.trained) {
    const gradient = await trainer.readGradient(path);
    if (gradient.some((x) => !Number.isFinite(x))) return path;
  }
  return null;
}
