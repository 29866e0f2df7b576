/**
 * `node bench/train.ts`: a training step of moec beside tfjs's WebGPU backend on the same adapter, and beside PyTorch on the processor where it is
 * at hand. Options: `--rounds N` (5), `--out FOLDER` (out/bench), `--no-peers`.
 */
import { parseArgs } from "node:util";
import type { TaskName } from "./engine.ts";
import { ROOFLINE, trainEntries } from "./engines.ts";
import { installPeers } from "./peers.ts";
import type { Report } from "./report.ts";
import { runRounds } from "./rounds.ts";
import { flopsForward } from "./train-shape.ts";

const { values: options } = parseArgs({
  options: {
    rounds: { type: "string", default: "5" },
    out: { type: "string", default: "out/bench" },
    "no-peers": { type: "boolean", default: false },
  },
});

const OURS = "moec";
const engines = trainEntries.filter((e) => !options["no-peers"] || e.isPeer === undefined);
if (engines.some((e) => e.isPeer)) installPeers("@tensorflow/tfjs");
const only: readonly TaskName[] = ["train-forward", "train-step", "fma-peak"];
const report = await runRounds({
  engines,
  ...{ only, rounds: Number(options.rounds), ours: OURS, out: options.out, name: "train" },
});
console.log(`\n${describe(report)}`);
process.exit(0);

/** What a step is in terms of going forward, and of what the adapter can do. */
function describe({ results }: Report): string {
  const of = (engine: string, task: TaskName): number =>
    results.find((r) => r.engine === engine && r.task === task)?.value ?? Number.NaN;
  const [step, forward] = [of(OURS, "train-step"), of(OURS, "train-forward")];
  // Forward, the same once more where layers are computed again, and twice for the gradients of both sides of a product.
  const flops = 3 * flopsForward();
  const reached = (flops * step) / 1e9;
  return [
    `going back and updating take ${(forward / step - 1).toFixed(2)} times as long as going forward`,
    `${(flops / 1e6).toFixed(1)} MFLOP a token, of products without what is computed again: ${reached.toFixed(1)} GFLOP/s, ${((100 * reached) / of(ROOFLINE, "fma-peak")).toFixed(0)} % of the adapter's multiply-adds`,
  ].join("\n");
}
