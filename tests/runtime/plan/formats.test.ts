/** Plans whose weights are kept in each number format: built by the command, loaded, fed with a checkpoint, held to what the format holds. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { WEIGHT_FORMATS } from "../../../compiler/plan/format.ts";
import { loadModel } from "../../../runtime/load/load-model.ts";
import { loadPlan } from "../../../runtime/load/load-plan.ts";
import { openDevice } from "../../../runtime/dawn/open-device.ts";
import type { Device } from "../../../runtime/gpu/device.ts";
import { openSession } from "../../../runtime/session/session.ts";
import { moec, temporary } from "../../cli/support.ts";
import { maxDifference } from "../../support/close.ts";
import { readValues, runOracleOver } from "../../support/oracle.ts";
import { heldBy } from "../../support/plan-run.ts";
import { source, tinyPlan } from "../../support/tiny-plan.ts";
import { expectFailure } from "../checkpoint/scratch.ts";

const MODEL = "tests/fixtures/families/mixtral";
const IDS = [3, 14, 15, 9, 2, 6, 5, 35, 8];

let device: Device;
beforeAll(async () => {
  device = await openDevice();
});
afterAll(() => device.close());

test.each(WEIGHT_FORMATS)(
  "`build --weights %s`: what runs is the model of the numbers that are held",
  async (format) => {
    const out = temporary(`${format}.plan`);
    const built = await moec("build", MODEL, "--weights", format, "--out", out);
    expect(built).toMatchObject({ code: 0 });
    expect(built.out + built.err).toContain(`weights in ${format}: `);
    const plan = await loadPlan(out);
    const formats = Map.groupBy(plan.parameters, (p) => (p.axes.length > 1 ? "wide" : "narrow"));
    expect(new Set(formats.get("wide")!.map((p) => p.storage))).toEqual(new Set([format]));
    expect(new Set(formats.get("narrow")!.map((p) => p.storage))).toEqual(new Set(["f32"]));
    const loaded = await loadModel(MODEL);
    const values = await readValues(loaded);
    using session = await openSession({ plan, device, source: loaded.source, sequences: 1, capacity: 16 });
    const [logits] = await session.forward([IDS]);
    const held = heldBy(plan, (path) => values.get(path)!);
    const expected = runOracleOver(loaded.model, IDS, held);
    const largest = expected.reduce((m, x) => Math.max(m, Math.abs(x)), 0);
    expect(maxDifference(logits!, expected)).toBeLessThanOrEqual(1e-4 * largest);
    await loaded.checkpoint.close();
  },
);

test("a weight that a format has no room for is refused by name, before anything runs", async () => {
  const plan = tinyPlan(device.facts);
  const { path } = plan.parameters[0]!;
  const small = plan.parameters.map((p) => (p.path === path ? { ...p, storage: "f16" as const } : p));
  const read: typeof source.read = async (name, start, length) => {
    const bytes = await source.read(name, start, length);
    if (name === path) new Float32Array(bytes.buffer, bytes.byteOffset)[5] = 70000;
    return bytes;
  };
  const opened = openSession({ plan: { ...plan, parameters: small }, device, source: { ...source, read } });
  await expectFailure(opened, "checkpoint/overflow", "f16 cannot hold element 5", path, "f32");
});
