/** `moec export`: layouts, types and files change, the model does not. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { DiagnosticBag } from "../../grammar/diagnostic.ts";
import { expandMap } from "../../compiler/index.ts";
import { openCheckpoint } from "../../runtime/load/open-checkpoint.ts";
import { loadModel } from "../../runtime/load/load-model.ts";
import { anonymous, moec, temporary } from "./support.ts";

const root = "tests/fixtures/families";

/** Names and shapes of all tensors. */
async function readTensors(folder: string): Promise<ReadonlyMap<string, string>> {
  const { tensors, close } = await openCheckpoint(folder);
  await close();
  return new Map([...tensors.values()].map(({ name, dtype, shape }) => [name, `${dtype} [${shape.join(", ")}]`]));
}

const hasLayouts = async (folder: string): Promise<boolean> => {
  const { model, map, checkpoint } = await loadModel(folder);
  await checkpoint.close();
  const [fewest, most] = (["fused", "per-expert"] as const).map(
    (layout) => expandMap(map, model, layout, new DiagnosticBag()).entries.length,
  );
  return fewest! < most!;
};

const families = readdirSync(root).map((name) => join(root, name));
const withLayouts = (await Promise.all(families.map(async (f) => ((await hasLayouts(f)) ? [f] : [])))).flat();

test("there are families with several layouts", () => expect(withLayouts.length).toBeGreaterThan(2));

describe.each(withLayouts)("%s", (folder) => {
  test("fused, one by one, and back: the same model, in fewer and in more tensors", async () => {
    const name = folder.split(/[\\/]/).at(-1)!;
    const [fused, single] = [temporary(`${name}-fused`), temporary(`${name}-single`)];
    expect((await moec("export", folder, "--out", fused, "--layout", "fused")).code).toBe(0);
    expect((await moec("export", fused, "--out", single, "--layout", "per-expert")).code).toBe(0);
    for (const out of [fused, single]) expect((await moec("diff", folder, out)).code).toBe(0);
    const [few, many] = [await readTensors(fused), await readTensors(single)];
    expect(few.size).toBeLessThan(many.size);
    expect([...few]).not.toEqual([...(await readTensors(single))]);
  });
});

test("the layouts of transformers 4 and 5 are those that it writes", async () => {
  const [fused, single] = [temporary("fused"), temporary("single")];
  await moec("export", `${root}/mixtral`, "--out", fused, "--layout", "fused");
  await moec("export", `${root}/mixtral_fused`, "--out", single, "--layout", "per-expert");
  expect(await readTensors(fused)).toEqual(await readTensors(`${root}/mixtral_fused`));
  expect(await readTensors(single)).toEqual(await readTensors(`${root}/mixtral`));
  const config = JSON.parse(readFileSync(join(single, "config.json"), "utf8")) as Record<string, unknown>;
  // Both generations' keys.
  expect(config).toMatchObject({
    rope_theta: 10000,
    rope_parameters: { rope_theta: 10000 },
    dtype: "float32",
    torch_dtype: "float32",
  });
});

test("types and sizes of files change as asked, and values are rounded", async () => {
  const out = temporary("bf16");
  const run = await moec("export", `${root}/mixtral`, "--out", out, "--dtype", "bf16", "--max-shard-size", "40kB");
  expect(run.code).toBe(0);
  expect(readdirSync(out).filter((name) => name.endsWith(".safetensors")).length).toBeGreaterThan(2);
  expect([...(await readTensors(out)).values()].every((text) => text.startsWith("BF16"))).toBe(true);
  // The fixture was rounded by transformers.
  expect((await moec("diff", out, `${root}/mixtral_bf16_sharded`)).out).toContain("the same");
});

test("a family with one layout, and a plan", async () => {
  const out = temporary("never");
  const refused = await moec("export", `${root}/llama`, "--out", out, "--layout", "fused");
  expect(refused.code).toBe(1);
  expect(anonymous(refused.err).split("\n")[0]).toBe("error[map/one-layout]: the map `llama` has one layout only");
  const planned = await moec("export", `${root}/llama`, "--out", out, "--plan");
  expect([planned.code, planned.err]).toEqual([0, ""]);
  expect(planned.out).toMatch(/^\d+ tensors: .* to read, .* to write\nat most .*\nabout .*\n.* free on/);
  expect(readdirSync(temporary("."))).not.toContain("never");
});
