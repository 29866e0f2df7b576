import { existsSync, readdirSync, readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  checkTotal,
  expandMap,
  findMap,
  makeModel,
  readConfig,
  toJson,
  writeConfig,
  type Json,
  type Model,
  type TensorMap,
} from "../../../compiler/index.ts";
import { DiagnosticBag, MoeError, renderDiagnostic } from "../../../grammar/index.ts";
import { formatConfig, parseConfig } from "../../../runtime/model/config-file.ts";
import { openWorkspace } from "../../../runtime/load/modules.ts";
import { findItem, modelOf, openRight } from "../../support/programs.ts";

const root = "tests/fixtures/families";
const families = readdirSync(root).filter((name) => existsSync(`${root}/${name}/config.json`));
const workspace = openWorkspace();

type JsonObject = Readonly<Record<string, Json>>;

function read(text: string) {
  const config = parseConfig("config.json", text);
  const map = findMap(workspace, config);
  const callee = readConfig(map, config);
  const model = makeModel(callee, map.item.span);
  const args = Object.fromEntries([...model.args].map(([name, value]) => [name, toJson(value)]));
  return { map, model, args, written: writeConfig(map, model.args) };
}

const readJson = (json: JsonObject) => read(JSON.stringify(json, null, 1));

/** The rendered diagnostics of what is thrown. */
function complaint(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    if (error instanceof MoeError)
      return error.diagnostics.map((d) => renderDiagnostic(d, { color: false })).join("\n");
    throw error;
  }
  throw new Error("nothing was thrown");
}

describe.each(families)("the config of %s", (name) => {
  const text = readFileSync(`${root}/${name}/config.json`, "utf8");
  const given = JSON.parse(text) as JsonObject;
  const { map, written, args } = read(text);

  test("is written back: every key that the map reads has its value", () => {
    for (const path of map.item.config.flatMap((rule) => rule.keys.map((key) => key.map((k) => k.text)))) {
      const before = at(given, path);
      if (before !== undefined && before !== null)
        expect({ path, value: at(written, path) }).toEqual({ path, value: before });
    }
  });

  test("means the same model when it is read again", () => {
    expect(readJson(written).args).toEqual(args);
  });

  test("gives the sizes of the weights", () => {
    expect(args).toMatchObject({ V: 96, L: 2, D: 48 });
    if (given["num_key_value_heads"] === 2) expect(args).toMatchObject({ G: 2, C: 8 });
  });
});

describe("configs of transformers 4", () => {
  const old: JsonObject = {
    architectures: ["LlamaForCausalLM"],
    model_type: "llama",
    hidden_act: "silu",
    vocab_size: 96,
    hidden_size: 48,
    num_hidden_layers: 2,
    intermediate_size: 64,
    num_attention_heads: 6,
    rms_norm_eps: 1e-5,
    torch_dtype: "float16",
  };

  test("lack the head size, have no key-value heads of their own, and base frequencies at the top", () => {
    const { args } = readJson({ ...old, num_key_value_heads: null, rope_theta: 500000.0, rope_scaling: null });
    expect(args).toMatchObject({ G: 6, R: 1, C: 8, theta: 500000, rotary: {}, tie: false, eps: 1e-5 });
  });

  test("scale positions under other keys", () => {
    const scaling = {
      rope_type: "llama3",
      factor: 8.0,
      low_freq_factor: 1.0,
      high_freq_factor: 4.0,
      original_max_position_embeddings: 8192,
    };
    expect(readJson({ ...old, rope_scaling: scaling }).args["rotary"]).toEqual({
      scaling: "llama3",
      factor: 8,
      low: 1,
      high: 4,
      original: 8192,
    });
    expect(readJson({ ...old, rope_scaling: { type: "linear", factor: 2.0 } }).args["rotary"]).toEqual({
      scaling: "linear",
      factor: 2,
    });
  });

  test("a base frequency that is written as an integer is still a number", () => {
    expect(readJson({ ...old, rope_theta: 10000 }).args).toMatchObject({ theta: 10000 });
  });
});

describe("the type of a model decides, and its classes are no more than a hint", () => {
  const jsonOf = (family: string) => JSON.parse(readFileSync(`${root}/${family}/config.json`, "utf8")) as JsonObject;

  test.each<[string, Json]>([
    ["phimoe", ["PhiMoEForCausalLM"]],
    ["jetmoe", ["JetMoEForCausalLM"]],
    ["llama", ["LLaMAForCausalLM"]],
    ["llama", ["LlamaForCausalLM", "LlamaModel"]],
    ["llama", ["MistralForCausalLM"]],
    ["llama", []],
    ["llama", null],
    ["gpt2", "GPT2LMHeadModel"],
  ])("%s with %j", (family, architectures) => {
    const json = jsonOf(family);
    const { args, written } = readJson({ ...json, architectures });
    expect(args).toEqual(readJson(json).args);
    expect(written["architectures"]).toEqual(json["architectures"]);
  });

  test("of a config without a type they are suggested", () => {
    const { model_type: _, ...json } = jsonOf("olmoe");
    expect(complaint(() => readJson(json))).toContain(
      'its `architectures` are of type `olmoe`: if that is right, add `"model_type": "olmoe"`',
    );
  });
});

describe("a config that does not fit is told where", () => {
  const good = JSON.parse(readFileSync(`${root}/llama/config.json`, "utf8")) as JsonObject;

  test.each<[string, JsonObject, string]>([
    ["a type that no map reads", { ...good, model_type: "lama" }, "map/unknown-family"],
    ["no type", { ...good, model_type: null }, "map/unknown-family"],
    [
      "a missing key",
      Object.fromEntries(Object.entries(good).filter(([key]) => key !== "hidden_size")),
      "map/missing-key",
    ],
    ["a size in quotes", { ...good, hidden_size: "48" }, "type/parameter-kind"],
    ["an activation that the map does not have", { ...good, hidden_act: "gelu" }, "map/unsupported"],
    [
      "a key in an object that nothing reads",
      { ...good, rope_parameters: { rope_type: "linear", factr: 4 } },
      "map/unread-key",
    ],
    [
      "positions by kind of layer",
      { ...good, rope_parameters: { full_attention: { rope_theta: 5 } } },
      "map/unread-key",
    ],
    ["a list for an object", { ...good, rope_scaling: ["linear", 4] }, "map/not-an-object"],
    ["heads that do not divide", { ...good, num_attention_heads: 7 }, "map/unsolvable"],
  ])("%s", (_, json, code) => {
    const text = complaint(() => readJson(json));
    expect(text).toContain(`error[${code}]`);
    // The families that are known today are no part of the message.
    expect(text.replace(/known types: .*/, "known types: ...")).toMatchSnapshot();
  });
});

describe("pieces", () => {
  test.each(families)("of %s tile every parameter, and every tensor's elements are read at most once", (name) => {
    const { map, model } = read(readFileSync(`${root}/${name}/config.json`, "utf8"));
    const bag = new DiagnosticBag();
    const expanded = expandMap(map, model, null, bag);
    checkTotal(model, expanded.entries, bag, map.item.span);
    expect(bag.list).toEqual([]);
    expectBijection(model, expanded);
  });

  const program = (layout: string, shape: string) => `import { Linear } from "std"
model Small(D, G, C, F) {
  q    = Linear(D -> [G, C])
  gate = Linear(D -> F)
  up   = Linear(D -> F)
  forward(x: [T, D]) -> [T, F] = up(x) * gate(x) + sum[G, C](q(x))
}
config c: Small { ${shape} }
map small: Small {
  config {
    "small" <-> model_type
    D <-> d
    G <-> g
    C <-> c
    F <-> f
  }
  ${layout}
}
`;

  const layouts = [
    'q.w <-> "q" as [G*C, D]\n  { gate.w, up.w } <-> "gu" as [2*F, D]',
    'q.w <-> "q" as [D, G*C]\n  { gate.w, up.w } <-> "gu" as [D, 2*F]',
    'q.w <-> "q" as [C, G, D]\n  { gate.w, up.w } <-> "gu" as [F*2, D]',
    'q.w <-> "q" as [C*D, G]\n  gate.w <-> "g" as [D, F]\n  up.w <-> "u"',
    'q.w <-> "q" as [G*C*D]\n  { gate.w, up.w } <-> "gu" as [2, F*D]',
  ];

  test("of any layout and size are a bijection between tensors and parameters", () => {
    const size = fc.integer({ min: 1, max: 5 });
    fc.assert(
      fc.property(fc.constantFrom(...layouts), size, size, size, size, (layout, D, G, C, F) => {
        const text = program(layout, `D: ${D}  G: ${G}  C: ${C}  F: ${F}`);
        const scope = openRight(text);
        const model = modelOf(text);
        const bag = new DiagnosticBag();
        const expanded = expandMap({ item: findItem(scope, "map"), scope }, model, null, bag);
        checkTotal(model, expanded.entries, bag, model.instance.span);
        expect(bag.list).toEqual([]);
        expectBijection(model, expanded);
      }),
      { numRuns: 25 },
    );
  });

  test("the fused layout holds the same experts as one tensor each", () => {
    const each = piecesOf("mixtral");
    const fused = piecesOf("mixtral_fused");
    const [model] = [read(readFileSync(`${root}/mixtral/config.json`, "utf8")).model];
    for (const { path, axes } of model.parameters.filter((p) => p.path.includes("experts"))) {
      const [N, rows] = [axes[0]!.size, axes[1]!.size];
      expect(each.filter((p) => p.path === path)).toHaveLength(N);
      expect(fused.filter((p) => p.path === path)).toHaveLength(1);
      const [one] = fused.filter((p) => p.path === path);
      expect(one!.sizes).toEqual(axes.map((a) => a.size));
      // gate and up are halves of one tensor: the second begins after the first's rows.
      expect(one!.source).toBe(path.endsWith("up.w") ? rows * axes[2]!.size : 0);
    }
  });
});

test("an axis of one element lies between the parts of a sum", () => {
  const scope = openRight(`
import { Embedding, ShortConv } from "std"

model Two(V, D, W) {
  embed = Embedding(V -> D)
  a     = ShortConv(D, W: W)
  b     = ShortConv(D, W: W)
  forward(ids: u32[T]) -> f32[T, V] = f32(dot[D](a(embed(ids)) + b(embed(ids)), embed.w))
}

map two: Two {
  config {
    "two" <-> model_type
    V <-> V
    D <-> D
    W <-> W
  }
  embed.w      <-> "embed"
  { a.w, b.w } <-> "conv" as [D + D, 1, W]
}
`);
  const map = scope.maps().find((m) => m.item.name.text === "two")!;
  const config = parseConfig("config.json", JSON.stringify({ model_type: "two", V: 8, D: 4, W: 3 }));
  const model = makeModel(readConfig(map, config), map.item.span);
  const bag = new DiagnosticBag();
  const expanded = expandMap(map, model, new Set(["embed", "conv"]), bag);
  checkTotal(model, expanded.entries, bag, map.item.span);
  expect(bag.list).toEqual([]);
  expectBijection(model, expanded);
  expect(expanded.entries.find((e) => e.tensor === "conv")!.shape).toEqual([8, 1, 3]);
});

function namesOf(family: string): readonly string[] {
  const header = readFileSync(`${root}/${family}/model.safetensors`);
  const length = Number(header.readBigUInt64LE(0));
  return Object.keys(JSON.parse(header.subarray(8, 8 + length).toString("utf8")) as object);
}

function piecesOf(family: string) {
  const { map, model } = read(readFileSync(`${root}/${family}/config.json`, "utf8"));
  return expandMap(map, model, new Set(namesOf(family)), new DiagnosticBag()).entries.flatMap((e) => e.pieces);
}

/** Every element of every parameter from exactly one element of one tensor, and the other way round. */
function expectBijection(model: Model, { entries }: TensorMap): void {
  const seen = new Map(model.parameters.map((p) => [p.path, new Uint8Array(p.axes.reduce((n, a) => n * a.size, 1))]));
  for (const { shape, pieces } of entries) {
    const read = new Uint8Array(shape.reduce((a, b) => a * b, 1));
    for (const { path, target, sizes, source, strides } of pieces) {
      const written = seen.get(path)!;
      const count = sizes.reduce((a, b) => a * b, 1);
      for (let flat = 0; flat < count; flat++) {
        let [rest, offset] = [flat, source];
        for (let axis = sizes.length - 1; axis >= 0; axis--) {
          offset += (rest % sizes[axis]!) * strides[axis]!;
          rest = Math.floor(rest / sizes[axis]!);
        }
        written[target + flat] = written[target + flat]! + 1;
        read[offset] = read[offset]! + 1;
      }
    }
    expect(read.every((n) => n === 1)).toBe(true);
  }
  for (const counts of seen.values()) expect(counts.every((n) => n === 1)).toBe(true);
}

function at(json: Json, path: readonly string[]): Json | undefined {
  return path.reduce<Json | undefined>(
    (j, key) => (j !== null && typeof j === "object" ? (j as JsonObject)[key] : undefined),
    json,
  );
}

describe("a key that is not there, and one that says null", () => {
  const text = (name: string): JsonObject =>
    JSON.parse(readFileSync(`${root}/${name}/config.json`, "utf8")) as JsonObject;
  const windowOf = (name: string, change: JsonObject, without: readonly string[] = []) => {
    const json = Object.entries({ ...text(name), ...change }).filter(([key]) => !without.includes(key));
    return readJson(Object.fromEntries(json)).args["window"];
  };

  test.each([
    ["mistral", {}, 4096],
    ["gemma2", {}, 4096],
    ["gpt_oss", {}, 128],
    ["mixtral", {}, null],
    ["qwen2", { use_sliding_window: true }, 4096],
    ["qwen2", { use_sliding_window: false }, null],
    ["qwen3", { use_sliding_window: true }, 4096],
    ["qwen2_moe", { use_sliding_window: true }, 4096],
    ["qwen3_moe", { use_sliding_window: true }, 4096],
  ])("%s, with %j, has the window that transformers' class has, or none", (name, change, window) => {
    expect(windowOf(name, change, ["sliding_window"])).toBe(window);
    expect(windowOf(name, { ...change, sliding_window: null })).toBeNull();
    expect(windowOf(name, { ...change, sliding_window: 7 })).toBe(7);
  });

  test("null is as a missing key for what a model cannot be without", () => {
    expect(readJson({ ...text("llama"), num_key_value_heads: null, head_dim: null }).args).toMatchObject({
      G: 6,
      C: 8,
    });
  });
});

describe("numbers as Python writes them", () => {
  const text = readFileSync(`${root}/llama/config.json`, "utf8");
  const withKey = (key: string, value: string): string => text.replace("{", `{\n  "${key}": ${value},`);

  test.each(["Infinity", "-Infinity", "NaN", "[0.5, Infinity]", '"say Infinity, NaN"'])(
    "%s beside what is read",
    (value) => {
      const { json } = parseConfig("config.json", withKey("time_step_limit", value));
      const { map, model } = read(withKey("time_step_limit", value));
      expect(JSON.stringify(formatConfig(json, new Set()))).toContain(
        JSON.stringify(`"time_step_limit": ${value}`)
          .slice(1, -1)
          .replace("[0.5, Infinity]", "[\\n    0.5,\\n    Infinity\\n  ]"),
      );
      expect([map.item.name.text, model.args.size > 0]).toEqual(["llama", true]);
    },
  );

  test.each(["Infinity", "NaN"])("%s in what is read is refused at its place", (value) => {
    const said = complaint(() => read(text.replace("1e-06", value)));
    expect(said).toContain("error[type/not-finite]: `rms_norm_eps` is");
    expect(said).toContain(`"rms_norm_eps": ${value}`);
  });

  test.each([
    ["[", "0", "]"],
    ['{"a":', "0", "}"],
    ["[", "NaN", "]"],
  ])("%s%s%s nested without end is refused in plain words", (open, value, close) => {
    const said = complaint(() => read(withKey("a", open.repeat(100_000) + value + close.repeat(100_000))));
    expect(said).toContain("config.json has lists or objects nested too deeply to be read");
  });

  test("they are no excuse for other text", () => {
    expect(complaint(() => read(withKey("a", "Infinit")))).toContain("checkpoint/bad-json");
    expect(complaint(() => read(withKey("a", "+Infinity")))).toContain("checkpoint/bad-json");
  });
});
