/**
 * The compiler and the runtime in one script for browsers, as esbuild makes it, and then run: in a realm that has what a browser has
 * and nothing of Node's, on an adapter and with files that are handed in, beside the same checkpoint in Node.
 */
import { readdirSync, readFileSync } from "node:fs";
import { createContext, Script } from "node:vm";
import { gzipSync } from "node:zlib";
import { build, transform } from "esbuild";
import { beforeAll, expect, test } from "vitest";
import { findAdapter, type OpenAdapter } from "../runtime/dawn/find-adapter.ts";
import { loadTokenizer } from "../runtime/load/load-tokenizer.ts";
import { standardLibrary } from "../runtime/load/modules.ts";
import { open } from "../runtime/open.ts";
import type { GeneratedToken } from "../runtime/session/generate.ts";

/** A mixture in several files, and another model's tokenizer. */
const MODEL = "tests/fixtures/families/mixtral_bf16_sharded";
const TOKENIZER = "examples/checkpoints/seed";
const PROMPTS = [
  [5, 17, 3, 40, 8],
  [9, 2],
];
const MAX_TOKENS = 12;
const TEXT = "The licence, in Zürich";

/** What a page gives to the script. */
interface Given {
  readonly adapter: OpenAdapter;
  /** As JSON, since a realm has its own objects. */
  readonly std: string;
  readonly model: GivenFolder;
  readonly tokenizer: GivenFolder;
}

interface GivenFolder {
  readonly path: string;
  readonly files: Readonly<Record<string, Uint8Array>>;
}

/** What it makes of it. */
interface Made {
  readonly logits: readonly Float32Array[];
  readonly nll: readonly Float32Array[];
  readonly generated: readonly GeneratedToken[];
  readonly ids: readonly number[];
  readonly text: string;
}

/** The program of a page. */
const PAGE = `(async ({ adapter, std, model, tokenizer }) => {
  if (typeof process !== "undefined" || typeof Buffer !== "undefined" || typeof setImmediate !== "undefined")
    throw new Error("this realm has what is Node's alone");
  const folderOf = ({ path, files }) => ({
    path,
    pathOf: (name) => path + "/" + name,
    list: async (inside) => (inside === undefined ? Object.keys(files).sort() : []),
    readText: async (name) => (name in files ? new TextDecoder().decode(files[name]) : null),
    open: async (name) => ({
      path: path + "/" + name,
      name,
      size: files[name].byteLength,
      modified: 0n,
      read: async (position, into) => {
        const part = files[name].subarray(position, position + into.byteLength);
        into.set(part);
        return part.byteLength;
      },
      checkUnchanged: async () => {},
      close: async () => {},
    }),
  });
  const workspace = new moec.Workspace({ std: JSON.parse(std), load: () => null });
  const loaded = await moec.readModel(folderOf(model), workspace);
  const device = await moec.requestDevice({ ...adapter, wait: (promise) => promise });
  const session = await moec.openOn(device, loaded, { sequences: 2, capacity: 64 });
  const prompts = ${JSON.stringify(PROMPTS)};
  const logits = await session.forward(prompts);
  const nll = await session.score(prompts);
  const generated = [];
  for await (const token of session.generate({ prompts, maxTokens: ${MAX_TOKENS} })) generated.push(token);
  session.close();
  device.close();
  const words = await moec.readTokenizer(folderOf(tokenizer), (milliseconds, run) => run());
  const ids = words.encodeText(${JSON.stringify(TEXT)});
  return { logits, nll, generated, ids, text: words.decode(ids) };
})`;

let script = "";

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
    // What is not found fails the build: in a browser a module of Node's is not.
    logLevel: "silent",
  });
  expect(Object.values(metafile.outputs).flatMap((output) => output.imports)).toEqual([]);
  script = outputFiles[0]!.text;
});

test("compiler and runtime are one script without a module of Node's", () => {
  expect(script).not.toMatch(/["'`]node:/);
  const bytes = new TextEncoder().encode(script);
  console.log(`a script of ${bytes.length} bytes, ${gzipSync(bytes).length} gzipped`);
});

test("in a realm without Node a checkpoint is read, compiled, scored and continued as in Node", async () => {
  const { code } = await transform(script, { format: "iife", globalName: "moec" });
  const realm = createContext({ TextDecoder, TextEncoder, DOMException, AbortSignal, crypto, performance });
  new Script(code).runInContext(realm);
  const run = new Script(PAGE).runInContext(realm) as (given: Given) => Promise<Made>;
  const made = await run({
    adapter: await findAdapter(null, []),
    std: JSON.stringify(standardLibrary()),
    model: readFolder(MODEL),
    tokenizer: readFolder(TOKENIZER),
  });

  using session = await open(MODEL, { sequences: 2, capacity: 64 });
  expect(numbersOf(made.logits)).toEqual(numbersOf(await session.forward(PROMPTS)));
  expect(numbersOf(made.nll)).toEqual(numbersOf(await session.score(PROMPTS)));
  const generated: GeneratedToken[] = [];
  for await (const token of session.generate({ prompts: PROMPTS, maxTokens: MAX_TOKENS })) generated.push(token);
  expect(made.generated.map(({ slot, token }) => ({ slot, token }))).toEqual(generated);
  const tokenizer = await loadTokenizer(TOKENIZER);
  expect([...made.ids]).toEqual(tokenizer.encodeText(TEXT));
  expect(made.text).toBe(tokenizer.decode(made.ids));
});

function readFolder(path: string): GivenFolder {
  const names = readdirSync(path, { withFileTypes: true }).flatMap((entry) => (entry.isFile() ? [entry.name] : []));
  return { path, files: Object.fromEntries(names.map((name) => [name, readFileSync(`${path}/${name}`)])) };
}

const numbersOf = (rows: readonly Float32Array[]): readonly (readonly number[])[] => rows.map((row) => [...row]);
