/** Counts and sizes of a config.json, held against what a model and its tensors can have: each is told with its key. */
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { Dim } from "../../../compiler/graph/dim.ts";
import type { TensorType } from "../../../compiler/graph/type.ts";
import {
  buildProgram,
  compileModel,
  expandMap,
  findMap,
  makeConfigured,
  makeModel,
  readConfig,
  type Json,
} from "../../../compiler/index.ts";
import { cutParts } from "../../../compiler/codegen/schedule/layout.ts";
import { DiagnosticBag, MoeError, renderDiagnostic } from "../../../grammar/index.ts";
import { parseConfig } from "../../../runtime/model/config-file.ts";
import { openWorkspace } from "../../../runtime/load/modules.ts";
import { softwareFacts } from "../../support/facts.ts";
import { findItem, openRight } from "../../support/programs.ts";

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

describe("parts of a parameter that a device cannot bind whole", () => {
  const type = (size: number): TensorType => ({
    dtype: "f32",
    axes: [
      { name: "N", size: Dim.of(size), origin: null },
      { name: "D", size: Dim.of(256), origin: null },
    ],
  });

  test("as few as fit, of equal length, whatever their number", () => {
    for (const [size, limit] of [
      [1000, 2 ** 20],
      [1000, 100_000],
      [1001, 40_000],
      [7, 4096],
    ] as const) {
      const parts = cutParts(type(size), { kind: "plain" }, "f32", limit);
      expect(parts.reduce((n, part) => n + part.count, 0)).toBe(size);
      expect(parts.every(({ bytes }) => bytes <= Math.max(limit, 4096))).toBe(true);
      expect(new Set(parts.slice(0, -1).map((part) => part.count)).size).toBeLessThan(2);
    }
    expect(cutParts(type(1000), { kind: "plain" }, "f32", 2 ** 20)).toHaveLength(1);
  });

  test("more than a thousand are none, found without cutting them", () => {
    expect(cutParts(type(2 ** 31), { kind: "plain" }, "f32", 4096)).toEqual([]);
  });

  test("a plan says which parameter, and how much the device binds", () => {
    const scope = openRight(`model Wide(V, D) {
  w = param[V, D]
  forward(ids: u32[T]) -> f32[T, V] = dot[D](take[V](w, ids), w)
}

config wide: Wide { V: 100000000 D: 64 }`);
    const facts = { ...softwareFacts, maxBinding: 4096 };
    const text = complaint(() =>
      compileModel(makeConfigured(scope, findItem(scope, "config")), { device: facts, storage: () => "f32" }),
    );
    expect(text).toContain(
      "error[device/too-large]: `w` of f32[V=100000000, D=64] does not fit into 1024 parts of 4096 bytes",
    );
    expect(text).toContain("this parameter");
  });
});
