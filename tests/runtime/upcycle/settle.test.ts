/** Settings in which experts differ: what changes nothing is the base's, with a note; the rest is refused until it is said whose counts. */
import { cpSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { type Json, toJson } from "../../../compiler/index.ts";
import { executeTransfer } from "../../../runtime/upcycle/execute.ts";
import { expectFailure, withScratch } from "../checkpoint/scratch.ts";
import { CHECKPOINTS, withPlan } from "./support.ts";

type JsonObject = Readonly<Record<string, Json>>;
const readJson = (path: string): JsonObject => JSON.parse(readFileSync(path, "utf8")) as JsonObject;

/** The base, and a copy of another with these settings. */
async function withExpert(more: JsonObject, body: (sources: readonly string[], out: string) => Promise<void>) {
  await withScratch(async (scratch) => {
    const [expert, out] = [join(scratch, "expert"), join(scratch, "out")];
    cpSync(CHECKPOINTS[1]!, expert, { recursive: true });
    const config = join(expert, "config.json");
    writeFileSync(config, JSON.stringify({ ...readJson(config), ...more }));
    await body([CHECKPOINTS[0]!, expert], out);
  });
}

test("token ids and the longest text are the base's, which is told and recorded", async () => {
  const chat = { bos_token_id: 3, eos_token_id: [4, 5], pad_token_id: 6, max_position_embeddings: 1024 };
  await withExpert(chat, async (sources, out) => {
    await withPlan("btx", sources, {}, async (plan) => {
      const [note, ...more] = plan.warnings.filter((d) => d.code.startsWith("upcycle/"));
      expect(more).toEqual([]);
      expect(note).toMatchObject({
        code: "upcycle/taken",
        severity: "warning",
        message: "the sources differ in `context`, `bos`, `eos`: the result has what `src[0]` has",
        notes: ["`context` is 512, of 512 and 1024", "`bos` is 0, of 0 and 3", "`eos` is 1, of 1 and [4,5]"],
      });
      await executeTransfer(plan, out);
    });
    const base = readJson(join(CHECKPOINTS[0]!, "config.json"));
    for (const key of Object.keys(chat)) expect(readJson(join(out, "config.json"))[key]).toEqual(base[key]);
    const { options } = readJson(join(out, "moec.provenance.json")) as { options: JsonObject };
    expect(options["taken"]).toEqual({ context: "src[0]", bos: "src[0]", eos: "src[0]" });
  });
});

test("what changes the function is refused, with a way to say whose counts", async () => {
  const far = { rope_parameters: { rope_theta: 500000, rope_type: "default" }, rms_norm_eps: 1e-3 };
  await withExpert(far, async (sources) => {
    const made = (take: readonly string[]) =>
      withPlan("btx", sources, { take }, (plan) =>
        Promise.resolve({
          theta: toJson(plan.target.args.get("theta")!),
          eps: toJson(plan.target.args.get("eps")!),
          taken: plan.provenance.options["taken"],
        }),
      );
    await expectFailure(made([]), "upcycle/sources-differ", "`eps`", "`theta`", "--take base");
    await expectFailure(made(["theta=base"]), "upcycle/sources-differ", "`eps`");
    expect(await made(["base"])).toEqual({ theta: 10000, eps: 1e-5, taken: { theta: "src[0]", eps: "src[0]" } });
    expect(await made(["base", "theta=src[1]"])).toMatchObject({ theta: 500000, eps: 1e-5 });
    expect(await made(["src[1]"])).toMatchObject({ theta: 500000, eps: 1e-3 });
    await expectFailure(made(["theta=src[2]"]), "upcycle/bad-take", "src[2]", "src[1]");
    await expectFailure(made(["thta=base"]), "upcycle/bad-take", "thta", "`theta`");
  });
});

test("the longest text of a model whose positions are scaled by it changes the function", async () => {
  const rope_parameters = { rope_theta: 10000, rope_type: "dynamic", factor: 2 };
  await withScratch(async (scratch) => {
    const sources = CHECKPOINTS.slice(0, 2).map((from, i) => {
      const folder = join(scratch, `${i}`);
      cpSync(from, folder, { recursive: true });
      const config = join(folder, "config.json");
      const length = { rope_parameters, max_position_embeddings: 512 * (i + 1) };
      writeFileSync(config, JSON.stringify({ ...readJson(config), ...length }));
      return folder;
    });
    const made = withPlan("btx", sources, {}, () => Promise.resolve());
    await expectFailure(made, "upcycle/sources-differ", "`context`");
  });
});
