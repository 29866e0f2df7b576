/** Counts and sizes of a config.json, held against what a model and its tensors can have: each is told with its key. */
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { buildProgram, expandMap, findMap, makeModel, readConfig, type Json } from "../../compiler/index.ts";
import { DiagnosticBag, MoeError, renderDiagnostic } from "../../grammar/index.ts";
import { parseConfig } from "../../runtime/config-file.ts";
import { openWorkspace } from "../../runtime/modules.ts";

const root = "tests/fixtures/families";
const workspace = openWorkspace();

type JsonObject = Readonly<Record<string, Json>>;

function readJson(json: JsonObject) {
  const config = parseConfig("config.json", JSON.stringify(json, null, 1));
  const map = findMap(workspace, config);
  return { map, model: makeModel(readConfig(map, config), map.item.span) };
}

function namesOf(family: string): readonly string[] {
  const header = readFileSync(`${root}/${family}/model.safetensors`);
  const length = Number(header.readBigUInt64LE(0));
  return Object.keys(JSON.parse(header.subarray(8, 8 + length).toString("utf8")) as object);
}

/** The rendered diagnostics of what is thrown. */
function complaint(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    if (!(error instanceof MoeError)) throw error;
    return error.diagnostics.map((d) => renderDiagnostic(d, { color: false })).join("\n");
  }
  throw new Error("nothing was thrown");
}

describe("what a checkpoint's config counts", () => {
  const good = JSON.parse(readFileSync(`${root}/mixtral/config.json`, "utf8")) as JsonObject;

  test.each([
    ["fewer than none chosen", { num_experts_per_tok: -2 }, "type/parameter-kind", "`-2`"],
    ["half an expert", { num_local_experts: 1.5 }, "type/parameter-kind", "`1.5`"],
    ["a text", { num_experts_per_tok: "2" }, "type/parameter-kind", '"num_experts_per_tok": "2"'],
    ["a text for a number", { rms_norm_eps: "1e-5" }, "type/parameter-kind", "is a number, not a string"],
    ["none chosen", { num_experts_per_tok: 0 }, "shape/not-positive", "0 comes from here"],
    ["no heads", { num_attention_heads: 0 }, "type/division-by-zero", "0 comes from here"],
    ["a window of less than nothing", { sliding_window: -1 }, "type/bad-operand", "-1 comes from here"],
    ["more layers than any model", { num_hidden_layers: 6e6 }, "shape/too-large", "6000000 comes from here"],
    ["an axis that kernels cannot count", { vocab_size: 2 ** 31 + 1 }, "shape/too-large", "2147483649 comes from here"],
    ["a size that is not exact", { vocab_size: 2 ** 60 }, "type/parameter-kind", "to 9007199254740992"],
  ])("%s is told with its key", (_, change, code, words) => {
    const text = complaint(() => buildProgram(readJson({ ...good, ...change }).model.instance));
    expect(text).toContain(`error[${code}]`);
    expect(text).toContain(words);
    expect(text).toContain("config.json:");
  });

  test("experts are held against the tensors that there are, before they are listed", () => {
    const { map, model } = readJson({ ...good, num_local_experts: 6e6 });
    const bag = new DiagnosticBag();
    const { entries } = expandMap(map, model, new Set(namesOf("mixtral")), bag);
    expect(bag.list.map((d) => [d.code, d.message])).toEqual([
      ["map/too-many", "`experts` has 6000000 elements, and at most 65536 tensors can be named here"],
    ]);
    expect(bag.list[0]!.labels[0]!.span.file.path).toBe("config.json");
    expect(entries.length).toBeLessThan(100);
    // In one tensor there may be as many as it holds.
    const fused = new DiagnosticBag();
    expandMap(map, model, new Set(namesOf("mixtral_fused")), fused);
    expect(fused.list).toEqual([]);
  });
});
