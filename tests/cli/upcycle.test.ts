/** `moec upcycle`: what it shows, writes and refuses. */
import { cpSync, existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { expect, test } from "vitest";
import { openWorkspace } from "../../runtime/load/modules.ts";
import { anonymous, moec, temporary, writeFile } from "./support.ts";

const checkpoint = (name: string): string => `examples/checkpoints/${name}`;
const four = ["seed", "code", "law", "math"].map(checkpoint);
const golden = "tests/fixtures/mix/btx/golden.safetensors";

interface Plan {
  readonly model: string;
  readonly parameters: number;
  readonly bytesWritten: number;
  readonly tensors: readonly { readonly name: string; readonly bytes: number }[];
  readonly rules: readonly { readonly rule: string; readonly tensors: number; readonly bytesWritten: number }[];
}

test("the plan shows rules, bytes, parameters and memory, and writes nothing", async () => {
  const out = temporary("planned");
  const set = `blocks[l].ffn.pick.score.w=${golden}#router`;
  const run = await moec("upcycle", "btx", "--from", ...four, "--out", out, "--set", set, "--plan");
  expect(run.err).toBe("");
  expect(run.code).toBe(0);
  // Speeds and room are those of the machine.
  const size = String.raw`[\d.]+ [KMGT]?i?B`;
  const plain = run.out
    .replace(/about \S+ \S+ /, "about TIME ")
    .replaceAll(new RegExp(`${size}/s`, "g"), "SPEED")
    .replace(new RegExp(`${size} free`), "ROOM free");
  expect(plain).toMatchSnapshot();
  expect(existsSync(out)).toBe(false);
  expect(readdirSync(dirname(out)).filter((name) => name.startsWith("."))).toEqual([]);
});

test("what is written is what was planned, loads again, and is not overwritten by chance", async () => {
  const out = temporary("written");
  const run = await moec("upcycle", "sparse", "--from", checkpoint("seed"), "--out", out, "--param", "N=3", "--json");
  expect(run.code).toBe(0);
  const plan = JSON.parse(run.out) as Plan;
  expect(plan.model).toBe("Mixtral");
  expect(plan.tensors.reduce((n, t) => n + t.bytes, 0)).toBe(plan.bytesWritten);
  expect(plan.rules.reduce((n, r) => n + r.bytesWritten, 0)).toBe(plan.bytesWritten);
  expect(plan.bytesWritten).toBe(2 * plan.parameters);
  const inspected = await moec("inspect", out, "--json");
  expect((JSON.parse(inspected.out) as { tree: { cost: { parameters: number } } }).tree.cost.parameters).toBe(
    plan.parameters,
  );
  const before = readFileSync(`${out}/model.safetensors`);
  const again = await moec("upcycle", "sparse", "--from", checkpoint("law"), "--out", out, "--param", "N=3");
  expect(again.code).toBe(1);
  expect(anonymous(again.err)).toMatchInlineSnapshot(`
    "error[checkpoint/target-exists]: \`written\` exists already
      = help: choose another name, or allow it to be replaced with \`--overwrite\`
    "
  `);
  expect(readFileSync(`${out}/model.safetensors`).equals(before)).toBe(true);
  const forced = await moec("upcycle", "sparse", "--from", checkpoint("law"), "--out", out, "--overwrite");
  expect(forced.code).toBe(0);
  expect(readFileSync(`${out}/model.safetensors`).equals(before)).toBe(false);
});

test("an upcycling of one's own is named by file", async () => {
  const run = await moec("upcycle", "examples/04-upcycle.moe#halfway", "--from", ...four, "--plan", "--json");
  expect(run.code).toBe(0);
  expect((JSON.parse(run.out) as Plan).rules.map((r) => r.rule)).toContain(
    "experts[n] = 0.5 * src[n].blocks[l].mlp + 0.5 * mean[M](src.blocks[l].mlp)",
  );
});

test("settings that the target cannot have are warned of, unless nothing changes without them", async () => {
  const plain = await moec("upcycle", "sparse", "--from", "tests/fixtures/families/qwen3", "--plan");
  expect([plain.code, plain.err]).toEqual([0, ""]);
  const folder = temporary("windowed");
  cpSync("tests/fixtures/families/qwen3", folder, { recursive: true });
  const config = JSON.parse(readFileSync(`${folder}/config.json`, "utf8")) as object;
  const windows = { layer_types: ["sliding_attention", "full_attention"], use_sliding_window: true, sliding_window: 4 };
  writeFileSync(`${folder}/config.json`, JSON.stringify({ ...config, ...windows }));
  const run = await moec("upcycle", "sparse", "--from", folder, "--plan");
  expect(run.code).toBe(0);
  expect(run.err).toMatchInlineSnapshot(`
    "warning[upcycle/lost-setting]: the sources have \`types\` = ["sliding_attention","full_attention"], and \`Qwen3MoE\` has no such parameter
     --> std/upcycle/sparse.moe:9:6
      |
    9 |   -> mixture of src(N: N, K: K, capacity: capacity, renormalize: renormalize, dense: dense_layers(L, layers)) where K <= N {
      |      ^^^^^^^ this model takes its settings from the sources by name
      = help: check that the new model does not need them, or upcycle to a model that has them
    "
  `);
});

test("weights that the target cannot have are refused, with a way out", async () => {
  const from = ["--from", "tests/fixtures/families/llama_rope3"];
  expect(await refuse("sparse", ...from)).toMatchInlineSnapshot(`
    "error[upcycle/unused-source]: no rule uses \`blocks[0].attn.q.b\` of \`src\` (and 7 more)
     --> std/upcycle/sparse.moe:8:9
      |
    8 | upcycle sparse(src: model, N = 8, K = 2, layers = "all", capacity = none, renormalize = none, std = 0.02, seed = 1)
      |         ^^^^^^ in this upcycling
      |                ---------- this source
      = help: use it, say that it is left out with \`ignore src.blocks[l].attn.q.b\`, or make a model that has it
    "
  `);
  const run = await moec("upcycle", "sparse", ...from, "--to", "SparseLlama", "--plan");
  expect(run.code).toBe(0);
});

test("lists are given in brackets", async () => {
  const layers = ["--param", "layers=[1, 3]", "--param", "N=2"];
  const run = await moec(
    "upcycle",
    "sparse",
    "--from",
    checkpoint("seed"),
    "--to",
    "SparseLlama",
    ...layers,
    "--plan",
    "--json",
  );
  const { tensors } = JSON.parse(run.out) as { readonly tensors: readonly { readonly name: string }[] };
  const mixtures = tensors.filter((t) => t.name.endsWith("mlp.gate.weight")).map((t) => t.name);
  expect(mixtures).toEqual([1, 3].map((l) => `model.layers.${l}.mlp.gate.weight`));
});

async function refuse(...args: readonly string[]): Promise<string> {
  const out = temporary("refused");
  const run = await moec("upcycle", ...args, "--out", out);
  expect(run.code).toBe(1);
  expect(run.out).toBe("");
  expect(existsSync(out)).toBe(false);
  return anonymous(run.err);
}

test("tokenizers that differ are refused", async () => {
  const folder = temporary("other-tokenizer");
  cpSync(checkpoint("code"), folder, { recursive: true });
  const path = `${folder}/tokenizer.json`;
  const tokenizer = JSON.parse(readFileSync(path, "utf8")) as object;
  // The same in another layout is no difference.
  writeFileSync(path, JSON.stringify(tokenizer, null, 7));
  const same = await moec("upcycle", "btx", "--from", checkpoint("seed"), folder, "--plan");
  expect(same.code).toBe(0);
  writeFileSync(path, JSON.stringify({ ...tokenizer, added_tokens: [] }));
  expect(await refuse("btx", "--from", checkpoint("seed"), folder)).toMatchInlineSnapshot(`
    "error[upcycle/tokenizers-differ]: the tokenizers of examples/checkpoints/seed and other-tokenizer are not the same
      = note: \`</s>\` of \`added_tokens\` is \`{"single_word":false,"lstrip":false,"rstrip":false,"normalized":false}\` in the first and not there in the second
      = note: a token would mean one thing to some of the experts and another to the rest
      = help: upcycle models that were trained from one seed, with its tokenizer
    "
  `);
});

test("sources of different sizes are refused", async () => {
  expect(await refuse("btx", "--from", checkpoint("seed"), "tests/fixtures/families/llama")).toMatchInlineSnapshot(`
    "error[upcycle/sources-differ]: the sources disagree on \`V\`: 2048, 96
     --> std/families/mixtral.moe:4:15
      |
    4 | model Mixtral(V, L, D, F, G, R, C, N, K, eps = 1e-5, theta = 1000000.0, rotary: layer = Rotary, window = none, balance = 0.001,
      |               ^ needed here
      |
      = note: they disagree on \`L\`: 4, 2; \`D\`: 128, 48; \`F\`: 384, 64; \`R\`: 2, 3; \`C\`: 32, 8; \`eps\`: 0.00001, 0.000001 as well
      = help: upcycle checkpoints that were trained from one seed
    "
  `);
});

test("a source of another family is refused", async () => {
  expect(await refuse("sparse", "--from", "tests/fixtures/families/mixtral")).toMatchInlineSnapshot(`
    "error[upcycle/no-mixture]: no model is declared to be the mixture of \`Mixtral\`
     --> std/upcycle/sparse.moe:9:6
      |
    9 |   -> mixture of src(N: N, K: K, capacity: capacity, renormalize: renormalize, dense: dense_layers(L, layers)) where K <= N {
      |      ^^^^^^^ chosen by the source
      |
      = note: there are declarations of mixtures of Cohere, DeepSeekV2, DeepSeekV3, Granite, Llama, Qwen2, Qwen3
      = help: write \`mixture NAME of Mixtral\` beside the upcycling, or give --to NAME
    "
  `);
});

test("conditions of the declaration are errors", async () => {
  expect(await refuse("sparse", "--from", checkpoint("seed"), "--param", "N=2", "--param", "K=3"))
    .toMatchInlineSnapshot(`
      "error[upcycle/where]: \`sparse\` requires \`K <= N\`
       --> std/upcycle/sparse.moe:9:117
        |
      9 |   -> mixture of src(N: N, K: K, capacity: capacity, renormalize: renormalize, dense: dense_layers(L, layers)) where K <= N {
        |                                                                                                                     ^^^^^^ required here
        |
        = note: K = 3
        = note: N = 2
        = help: change the parameters or the number of sources
      "
    `);
});

test("a contract that does not hold is found before a weight is read", async () => {
  const text = readFileSync("stdlib/upcycle/sparse.moe", "utf8")
    .replace("upcycle sparse", 'import { Llama, Mixtral } from "std"\n\nupcycle broken')
    .replace("= src.blocks[l].mlp", "= 0.5 * src.blocks[l].mlp");
  const file = writeFile("broken.moe", text.replace(/^\/\/\/.*\n/gm, ""));
  expect(await refuse(`${file}#broken`, "--from", checkpoint("seed"))).toMatch(/^error\[upcycle\/contract\]/);
});

test.each([
  ["a tensor that is not there", `blocks[l].ffn.pick.score.w=${golden}#rooter`],
  ["a path that is not there", `blocks[l].fn.pick.score.w=${golden}#router`],
  ["a tensor of another shape", `blocks[0].ffn.pick.score.w=${golden}#router`],
  ["a layer", `blocks[l].ffn.pick=${golden}#router`],
  ["no tensor", `blocks[l].ffn.pick.score.w=${golden}`],
])("--set refuses %s", async (_, set) => {
  expect(await refuse("btx", "--from", ...four, "--set", set)).toMatchSnapshot();
});

test("an unknown upcycling is an error with the known ones", async () => {
  const known = openWorkspace()
    .standard("upcycle")
    .map(({ item }) => item.name.text);
  const told = await refuse("sprse", "--from", checkpoint("seed"));
  expect(told.replace(known.join(", "), "ALL")).toMatchInlineSnapshot(`
    "error[cli/no-upcycle]: the standard library has no upcycling \`sprse\`
      = note: it has ALL
      = help: did you mean \`sparse\`?
    "
  `);
});

test("the plan says what is left out of the sources, and how much", async () => {
  const from = "tests/fixtures/families/qwen2_moe";
  const run = await moec("upcycle", "merge_experts", "--from", from, "--out", temporary("left"), "--plan", "--json");
  const { leftOut } = JSON.parse(run.out) as { leftOut: unknown };
  // Two layers with six experts; width 48.
  expect(leftOut).toEqual([
    { path: "src.blocks[l].ffn.pick", parameters: 2 * 6 * 48 },
    { path: "src.blocks[l].ffn.gate", parameters: 2 * 48 },
  ]);
  // What is used of a model that is otherwise ignored does not count, nor what is not there.
  const added = await moec(
    "upcycle",
    "merge_experts",
    "--from",
    "tests/fixtures/families/mixtral",
    "--out",
    temporary("left"),
    "--plan",
  );
  expect(added.out).toContain("left out: src.blocks[l].ffn.pick, 576 parameters");
  expect(added.out).not.toContain("ffn.gate, ");
});

test.each([
  [["--param", "N=1e9"], "error[type/parameter-kind]: `N` of `Mixtral` is a size, not a number"],
  [["--param", "N=1000000000"], "error[shape/too-large]"],
  [["--param", "N=1000000"], "error[map/too-many]"],
  [["--param", "N=4", "--memory", "1B"], "error[checkpoint/little-memory]: with 1 B of memory"],
])("more than there can be is refused before it is planned: %j", async (flags, words) => {
  const run = await moec("upcycle", "sparse", "--from", checkpoint("seed"), "--plan", ...flags);
  expect(run.code).toBe(1);
  expect(run.err).toContain(words);
});
