/** Training as a library: a few steps of a small model on arithmetic, as an iterator of what happens. Elsewhere the import is `from "moec"`. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { loadModel, openDevice, openTraining } from "../index.ts";

const [checkpoint = join(import.meta.dirname, "checkpoints", "seed"), steps = "6"] = process.argv.slice(2);
const out = mkdtempSync(join(tmpdir(), "moec-train-"));
const device = await openDevice();
const loaded = await loadModel(checkpoint);
const math = join(import.meta.dirname, "text", "math.train.bin");
const run = await openTraining({
  ...{ device, loaded, out, steps: Number(steps), batch: 4, context: 64, rate: 5e-4 },
  data: { sources: [{ name: "math", kind: "tokens", paths: [math], weight: null, field: "text", fim: null }] },
  ...{ evaluateEvery: 0, checkpointEvery: 0 },
});
console.log(`${run.trained} parameters, ${(run.memory.total / 2 ** 20).toFixed(0)} MiB on the device`);
for await (const event of run.events()) {
  if (event.kind === "step") console.log(`step ${event.step}: loss ${event.loss?.toFixed(3)}`);
  if (event.kind === "checkpoint") console.log(`a checkpoint like any other: ${event.path}`);
}
await run.close();
await loaded.checkpoint.close();
device.close();
rmSync(out, { recursive: true });
