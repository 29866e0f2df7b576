/** Scaled positions in the configs of families: under the keys of new and old releases, and written back under both. */
import { readFileSync, readdirSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { findMap, makeModel, readConfig, toJson, writeConfig, type Json } from "../../compiler/index.ts";
import type { MoeError } from "../../grammar/index.ts";
import { parseConfig } from "../../runtime/config-file.ts";
import { openWorkspace } from "../../runtime/modules.ts";

type JsonObject = Readonly<Record<string, Json>>;

const root = "tests/fixtures/families";
const configs = readdirSync(root).map((name): readonly [string, JsonObject] => [
  name,
  JSON.parse(readFileSync(`${root}/${name}/config.json`, "utf8")) as JsonObject,
]);
const rotary = configs.filter(([, json]) => json["rope_parameters"] !== undefined);
const workspace = openWorkspace();

/** Half as many divisors as a head has channels that rotate. */
function scalings(json: JsonObject): readonly JsonObject[] {
  const channels = json["qk_rope_head_dim"] ?? json["head_dim"] ?? json["kv_channels"] ?? 8;
  const { partial_rotary_factor: part = 1 } = json["rope_parameters"] as { partial_rotary_factor?: number };
  const divisors = (step: number) =>
    Array.from({ length: ((channels as number) * part) / 2 }, (_, i) => 1.5 + step * i);
  const original_max_position_embeddings = 64;
  return [
    { rope_type: "linear", factor: 2.5 },
    { rope_type: "dynamic", factor: 2.0 },
    { rope_type: "llama3", factor: 8.0, low_freq_factor: 1.0, high_freq_factor: 4.0, original_max_position_embeddings },
    {
      rope_type: "yarn",
      factor: 4.0,
      original_max_position_embeddings,
      beta_fast: 16.0,
      beta_slow: 2.0,
      truncate: false,
      attention_factor: 1.25,
      mscale: 0.5,
      mscale_all_dim: 0.75,
    },
    {
      rope_type: "longrope",
      factor: 3.0,
      original_max_position_embeddings,
      long_factor: divisors(1),
      short_factor: divisors(0.25),
      long_mscale: 1.25,
      short_mscale: 1.5,
    },
  ];
}

function read(json: JsonObject) {
  const config = parseConfig("config.json", JSON.stringify(json, null, 1));
  const map = findMap(workspace, config);
  const model = makeModel(readConfig(map, config), map.item.span);
  const args = Object.fromEntries([...model.args].map(([name, value]) => [name, toJson(value)]));
  return { args, written: writeConfig(map, model.args) };
}

test("most families rotate", () => expect(rotary.length).toBeGreaterThan(20));

describe.each(rotary)("%s", (_, json) => {
  const { rope_theta, partial_rotary_factor, ...more } = json["rope_parameters"] as JsonObject;
  const base = partial_rotary_factor === undefined ? { rope_theta } : { rope_theta, partial_rotary_factor };

  test("reads every scaling under both names, and writes both", () => {
    for (const scaling of scalings(json)) {
      const now = read({ ...json, rope_parameters: { ...base, ...scaling } as JsonObject });
      const { rope_type, ...rest } = scaling;
      const old = { ...json, rope_parameters: base as JsonObject };
      expect(read({ ...old, rope_scaling: scaling }).args).toEqual(now.args);
      expect(read({ ...old, rope_scaling: { type: rope_type!, ...rest } }).args).toEqual(now.args);
      expect(now.written["rope_parameters"]).toMatchObject(scaling);
      expect(now.written["rope_scaling"]).toEqual({ ...scaling, type: rope_type });
      expect(read(now.written).args).toEqual(now.args);
    }
  });

  test("without one, writes what it says and no more", () => {
    const { written } = read(json);
    expect(written["rope_scaling"]).toEqual(
      (more as { factor?: number }).factor === undefined ? undefined : { ...more, type: more["rope_type"] },
    );
    expect(written["rope_parameters"]).toEqual(json["rope_parameters"]);
  });
});

test("a scaling that nobody has defined is told at its key", () => {
  const [, json] = configs.find(([name]) => name === "llama")!;
  try {
    read({ ...json, rope_parameters: { rope_theta: 10000, rope_type: "spiral" } });
  } catch (error) {
    const [first] = (error as MoeError).diagnostics;
    expect(first).toMatchObject({ code: "type/where" });
    expect(first!.labels[0]).toMatchObject({
      text: '`scaling` is "spiral" here',
      span: { file: { path: "config.json" } },
    });
    return;
  }
  throw new Error("nothing was thrown");
});
