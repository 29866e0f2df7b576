/** Scaled positions in the configs of families: under the keys of new and old releases, and written back under both. */
import { readFileSync, readdirSync } from "node:fs";
import { describe, expect, test } from "vitest";
import {
  findContradictions,
  findMap,
  makeModel,
  readConfig,
  toJson,
  writeConfig,
  type Json,
} from "../../../compiler/index.ts";
import { MoeError } from "../../../grammar/index.ts";
import { parseConfig } from "../../../runtime/model/config-file.ts";
import { openWorkspace } from "../../../runtime/load/modules.ts";

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
      const { rope_parameters: _, ...others } = json;
      const old = { ...others, ...(base as JsonObject), rotary_emb_base: rope_theta! };
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

describe("of the objects that transformers knows, one is read whole", () => {
  const config = configs.find(([name]) => name === "llama")![1];
  const { rope_parameters: _, ...plain } = config;
  const settings = (more: JsonObject) => {
    const { args } = read({ ...plain, ...more });
    return { theta: args["theta"], rotary: args["rotary"] };
  };
  const linear = { scaling: "linear", factor: 4 };

  test("the new name with the old name of the type", () => {
    expect(settings({ rope_parameters: { type: "linear", factor: 4 } })).toEqual({ theta: 10000, rotary: linear });
  });

  test("the old name comes first, and nothing of the new one is mixed in", () => {
    const rope_parameters = { rope_type: "yarn", rope_theta: 500000, factor: 8, beta_fast: 16 };
    expect(settings({ rope_parameters, rope_scaling: { type: "linear", factor: 4 } })).toEqual({
      theta: 10000,
      rotary: linear,
    });
    expect(settings({ rope_parameters, rope_theta: 300, rope_scaling: { type: "linear", factor: 4 } }).theta).toBe(300);
  });

  test("an empty object is none", () => {
    const rope_parameters = { rope_type: "linear", factor: 4, rope_theta: 500 };
    for (const rope_scaling of [{}, null])
      expect(settings({ rope_parameters, rope_scaling })).toEqual({ theta: 500, rotary: linear });
    expect(settings({ rope_parameters: {}, rope_scaling: {} })).toEqual({ theta: 10000, rotary: {} });
  });

  test("an own base of the object is stronger than the one beside it", () => {
    expect(settings({ rope_theta: 7, rope_parameters: { rope_theta: 500 } }).theta).toBe(500);
    expect(settings({ rope_theta: 7, rope_scaling: { type: "linear", factor: 4 } }).theta).toBe(7);
  });

  test("the length of the first training may stand beside it, and is stronger there", () => {
    const longrope = { type: "longrope", long_factor: [1, 2, 3, 4], short_factor: [1, 1, 1, 1] };
    const rotary = { scaling: "longrope", long: [1, 2, 3, 4], short: [1, 1, 1, 1], original: 64 };
    expect(settings({ original_max_position_embeddings: 64, rope_scaling: longrope }).rotary).toEqual(rotary);
    const own = { ...longrope, original_max_position_embeddings: 32 };
    expect(settings({ original_max_position_embeddings: 64, rope_scaling: own }).rotary).toEqual(rotary);
    expect(settings({ rope_scaling: own }).rotary).toEqual({ ...rotary, original: 32 });
  });

  test("the share of channels that rotate is read, in the object and beside it", () => {
    expect(settings({ partial_rotary_factor: 0.5 }).rotary).toEqual({ part: 0.5 });
    expect(settings({ rope_parameters: { partial_rotary_factor: 0.25 } }).rotary).toEqual({ part: 0.25 });
  });

  test("what is read is told where the other says something else", () => {
    const warn = (more: JsonObject) => {
      const file = parseConfig("config.json", JSON.stringify({ ...plain, ...more }));
      return findContradictions(findMap(workspace, file), file).map((d) => `${d.code}: ${d.message}`);
    };
    const rope_scaling = { type: "linear", factor: 4 };
    expect(warn({ rope_scaling, rope_parameters: { rope_type: "linear", factor: 4 } })).toEqual([]);
    expect(warn({ rope_scaling })).toEqual([]);
    expect(warn({ rope_scaling, rope_parameters: { rope_type: "linear", factor: 8 } })).toEqual([
      "map/two-objects: `rope_scaling` is read, and `rope_parameters`, which says something else, is not",
    ]);
  });
});

describe("what an object of a config says and nothing reads is refused by its name", () => {
  const refusal = (json: JsonObject): string => {
    try {
      read(json);
    } catch (error) {
      if (error instanceof MoeError) return error.message;
      throw error;
    }
    return "read";
  };

  test.each(rotary)("%s", (_, json) => {
    for (const name of ["rope_parameters", "rope_scaling"]) {
      const own = { ...(json["rope_parameters"] as JsonObject) };
      expect(refusal({ ...json, [name]: { ...own, alpha: 1000 } })).toMatch(
        `map/unread-key: nothing reads \`${name}.alpha\``,
      );
      const nested = { full_attention: own, sliding_attention: { ...own, rope_theta: 5 } };
      expect(refusal({ ...json, [name]: nested })).toMatch(
        `map/unread-key: nothing reads \`${name}.full_attention\`, \`${name}.sliding_attention\``,
      );
      expect(refusal({ ...json, [name]: "linear" })).toMatch(`map/not-an-object: \`${name}\``);
    }
  });

  test("other objects, too", () => {
    const [, json] = configs.find(([name]) => name === "dbrx")!;
    const attention = json["attn_config"] as JsonObject;
    expect(refusal({ ...json, attn_config: { ...attention, qk_ln: true } })).toMatch(
      "nothing reads `attn_config.qk_ln`",
    );
    const ffn = json["ffn_config"] as JsonObject;
    const activation = { name: "silu", limit: 7 };
    expect(refusal({ ...json, ffn_config: { ...ffn, ffn_act_fn: activation } })).toMatch(
      "nothing reads `ffn_config.ffn_act_fn.limit`",
    );
    expect(refusal({ ...json, ffn_config: { ...ffn, uniform_expert_assignment: true } })).toMatch("map/unsupported");
  });

  test("a factor without a scaling is none that is passed over", () => {
    const [, json] = configs.find(([name]) => name === "llama")!;
    expect(refusal({ ...json, rope_parameters: { rope_type: "default", type: "linear", factor: 4 } })).toMatch(
      "type/where",
    );
  });
});
