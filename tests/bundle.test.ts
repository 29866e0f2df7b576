/**
 * The compiler and the runtime in one script for browsers, as esbuild makes it, and then run: in a realm that has what a browser has
 * and nothing of Node's, on a GPU adapter that is handed in, beside the same model in Node.
 */
import { createContext, Script } from "node:vm";
import { gzipSync } from "node:zlib";
import { build, transform } from "esbuild";
import { afterAll, beforeAll, expect, test } from "vitest";
import { findAdapter, type OpenAdapter } from "../runtime/dawn/find-adapter.ts";
import { type LoadedModel, loadModel } from "../runtime/model/model.ts";
import { standardLibrary } from "../runtime/model/modules.ts";
import { openModel } from "../runtime/open.ts";
import type { GeneratedToken } from "../runtime/session/generate.ts";

const FOLDER = "tests/fixtures/families/mixtral_bf16_sharded";
const PROMPTS = [
  [5, 17, 3, 40, 8],
  [9, 2],
];
const MAX_TOKENS = 12;

/** What a page gives to the script, and what it makes of it. */
interface Given {
  readonly adapter: OpenAdapter;
  /** As JSON, since a realm has its own objects. */
  readonly texts: string;
  readonly source: LoadedModel["source"];
}
interface Made {
  readonly logits: readonly Float32Array[];
  readonly nll: readonly Float32Array[];
  readonly generated: readonly GeneratedToken[];
}

let script = "";
let loaded: LoadedModel;

beforeAll(async () => {
  const { outputFiles, metafile } = await build({
    stdin: {
      contents: `export * from "./compiler/index.ts"; export * from "./runtime/portable.ts";`,
      resolveDir: process.cwd(),
      loader: "ts",
    },
    bundle: true,
    platform: "browser",
    format: "esm",
    target: "es2024",
    minify: true,
    write: false,
    metafile: true,
    // What is not found fails the build: a module of Node's is not there in a browser.
    logLevel: "silent",
  });
  expect(Object.values(metafile.outputs).flatMap((output) => output.imports)).toEqual([]);
  script = outputFiles[0]!.text;
  loaded = await loadModel(FOLDER);
});
afterAll(() => loaded.checkpoint.close());

test("compiler and runtime are one script without a module of Node's", () => {
  expect(script).not.toMatch(/["'`]node:/);
  const bytes = new TextEncoder().encode(script);
  console.log(`a script of ${bytes.length} bytes, ${gzipSync(bytes).length} gzipped`);
});

test("in a realm without Node a mixture is compiled, scored and continued as in Node", async () => {
  const { code } = await transform(script, { format: "iife", globalName: "moec" });
  const realm = createContext({ TextDecoder, TextEncoder, DOMException, AbortSignal, performance });
  new Script(code).runInContext(realm);
  const run = new Script(PAGE).runInContext(realm) as (given: Given) => Promise<Made>;
  const { config, source } = loaded;
  const made = await run({
    adapter: await findAdapter(null, []),
    texts: JSON.stringify({
      config: { ...config, floats: [...config.floats], written: [...(config.written ?? [])] },
      std: standardLibrary(),
    }),
    source,
  });

  using session = await openModel(loaded, { sequences: 2, capacity: 64 });
  expect(made.logits.map((row) => [...row])).toEqual((await session.forward(PROMPTS)).map((row) => [...row]));
  expect(made.nll.map((row) => [...row])).toEqual((await session.score(PROMPTS)).map((row) => [...row]));
  const generated: GeneratedToken[] = [];
  for await (const token of session.generate({ prompts: PROMPTS, maxTokens: MAX_TOKENS })) generated.push(token);
  expect(made.generated.map(({ slot, token }) => ({ slot, token }))).toEqual(generated);
});

/** The program of a page. */
const PAGE = `(async ({ adapter, texts, source }) => {
  const { Workspace, findMap, readConfig, makeModel, compileModel, requestDevice, openSession } = moec;
  if (typeof process !== "undefined" || typeof Buffer !== "undefined" || typeof setImmediate !== "undefined")
    throw new Error("this realm has Node's");
  const { config, std } = JSON.parse(texts);
  const workspace = new Workspace({ std, load: () => null });
  const file = { ...config, floats: new Set(config.floats), written: new Map(config.written) };
  const map = findMap(workspace, file);
  const model = makeModel(readConfig(map, file), map.item.span);
  const device = await requestDevice({ ...adapter, wait: (promise) => promise });
  const plan = compileModel(model, { device: device.facts, storage: source.storage });
  const session = await openSession({ plan, device, source, sequences: 2, capacity: 64 });
  const prompts = ${JSON.stringify(PROMPTS)};
  const logits = await session.forward(prompts);
  const nll = await session.score(prompts);
  const generated = [];
  for await (const token of session.generate({ prompts, maxTokens: ${MAX_TOKENS} })) generated.push(token);
  session.close();
  device.close();
  return { logits, nll, generated };
})`;
