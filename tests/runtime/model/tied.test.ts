/** Heads beside embeddings that a config ties them to, in every family that has the choice: they are what they hold. */
import { join } from "node:path";
import { readdirSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { diskFolder } from "../../../runtime/load/disk-folder.ts";
import { expandMap, findMap, makeModel, readConfig } from "../../../compiler/index.ts";
import { DiagnosticBag } from "../../../grammar/index.ts";
import { fromFloat32, toFloat32 } from "../../../runtime/checkpoint/data-type.ts";
import { readConfigFile } from "../../../runtime/model/config-file.ts";
import { exportModel } from "../../../runtime/upcycle/export.ts";
import { loadModel } from "../../../runtime/load/load-model.ts";
import type { LoadedModel } from "../../../runtime/model/model.ts";
import { openWorkspace } from "../../../runtime/load/modules.ts";
import { configOf, familyFolder, type MadeTensor, tensorsOf, writeModel } from "../../support/made-checkpoint.ts";
import { expectFailure, withScratch } from "../checkpoint/scratch.ts";

const workspace = openWorkspace();

/** Names of a family's embedding and head. */
async function namesOf(family: string): Promise<{ readonly embed: string; readonly head: string } | null> {
  const config = await readConfigFile(diskFolder(familyFolder(family)));
  const map = findMap(workspace, config);
  const model = makeModel(readConfig(map, config), map.item.span);
  const { entries, alike } = expandMap(map, model, null, new DiagnosticBag());
  const head = ["lm_head.weight", "embed_out.weight"].find((name) => alike.some((rule) => rule.matches(name)));
  const embed = entries.find((entry) => entry.pieces[0]!.path === "embed.w")!.tensor;
  return head === undefined ? null : { embed, head };
}

const named = readdirSync("tests/fixtures/families").map(async (family) => ({ family, names: await namesOf(family) }));
const families = (await Promise.all(named)).flatMap(({ family, names }) =>
  names === null ? [] : [{ family, ...names }],
);

const tied = { tie_word_embeddings: true };

async function load(folder: string, use: (loaded: LoadedModel) => Promise<void> | void = () => undefined) {
  const loaded = await loadModel(folder, workspace);
  try {
    await use(loaded);
    return { tie: loaded.model.args.get("tie"), notes: loaded.notes.map((d) => `${d.code}: ${d.message}`) };
  } finally {
    await loaded.checkpoint.close();
  }
}

test("every map of the library whose model may be tied says what a head beside it is", () => {
  for (const { item, scope } of workspace.standard("map")) {
    const model = scope.lookup(item.model.text)?.item;
    if (model?.kind !== "layer" || !model.params.some((p) => p.name.text === "tie")) continue;
    const rules = item.rules.filter((rule) => rule.kind === "ignore" && rule.otherwise?.name.text === "tie");
    expect({ map: item.name.text, rules: rules.length }).toEqual({ map: item.name.text, rules: 1 });
  }
});

test("all families but one have the choice", () => expect(families.length).toBeGreaterThan(20));

describe.each(families)("$family", ({ family, embed, head }) => {
  test("a head that holds what the embedding does is passed over; one that differs in a bit is kept, and that is said", async () => {
    const tensors = (await tensorsOf(family)).filter(({ name }) => name !== head);
    const embedding = tensors.find(({ name }) => name === embed)!;
    const same: MadeTensor = { ...embedding, name: head };
    const other: MadeTensor = { ...same, bytes: Uint8Array.from(same.bytes) };
    other.bytes[other.bytes.length - 3]! ^= 1;
    await withScratch(async (folder) => {
      const config = { ...configOf(family), ...tied };
      const quiet = await load(await writeModel(join(folder, "same"), config, [...tensors, same]));
      expect(quiet).toEqual({ tie: { kind: "bool", value: true }, notes: [] });
      const kept = await load(await writeModel(join(folder, "other"), config, [...tensors, other]), async (loaded) => {
        const count = other.shape.reduce((a, b) => a * b, 1);
        expect(await loaded.source.read("head.w", 0, count)).toEqual(other.bytes);
      });
      expect(kept.tie).toEqual({ kind: "bool", value: false });
      expect(kept.notes).toEqual([
        expect.stringMatching(`^checkpoint/unlike: \`${head}\` .*\`embed.w\`.* weight of its own`),
      ]);
      // And the other way round.
      const apart = await writeModel(join(folder, "apart"), { ...config, tie_word_embeddings: false }, tensors);
      await expectFailure(loadModel(apart), "checkpoint/missing-tensor", head, "tie_word_embeddings");
    });
  });
});

describe("a head", () => {
  const other = async (): Promise<readonly MadeTensor[]> => tensorsOf("llama");

  test("of another type is the same where its values are", async () => {
    const tensors = (await other()).filter(({ name }) => name !== "lm_head.weight");
    const embedding = tensors.find(({ name }) => name.includes("embed_tokens"))!;
    const bf16 = fromFloat32("BF16", toFloat32("F32", embedding.bytes));
    const rounded = { ...embedding, dtype: "BF16" as const, bytes: bf16 };
    const wide = {
      ...embedding,
      name: "lm_head.weight",
      bytes: new Uint8Array(toFloat32("BF16", bf16).slice().buffer),
    };
    await withScratch(async (folder) => {
      const all = [...tensors.map((t) => (t === embedding ? rounded : t)), wide];
      expect((await load(await writeModel(folder, { ...configOf("llama"), ...tied }, all))).notes).toEqual([]);
    });
  });

  test("of another size is none that could be passed over", async () => {
    const tensors = (await other()).map((t) =>
      t.name === "lm_head.weight" ? { ...t, shape: [95, 48], bytes: t.bytes.subarray(0, 4 * 95 * 48) } : t,
    );
    await withScratch(async (folder) => {
      const made = await writeModel(folder, { ...configOf("llama"), ...tied }, tensors);
      await expectFailure(loadModel(made), "checkpoint/shape", "lm_head.weight", "[95, 48]");
    });
  });

  test("that is kept is exported with a config that has it", async () => {
    await withScratch(async (folder) => {
      const made = await writeModel(join(folder, "made"), { ...configOf("llama"), ...tied }, await other());
      const out = join(folder, "out");
      await load(made, (loaded) => exportModel(loaded, out));
      expect((await readConfigFile(diskFolder(out))).json["tie_word_embeddings"]).toBe(false);
      expect((await load(out)).notes).toEqual([]);
    });
  });
});
