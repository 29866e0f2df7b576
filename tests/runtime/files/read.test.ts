/** What is read is an ordinary file, of one moment, in UTF-8; and only what is not there is taken for absent. */
import { execFileSync } from "node:child_process";
import fs, {
  appendFileSync,
  chmodSync,
  cpSync,
  mkdirSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import { createServer } from "node:net";
import { join } from "node:path";
import { expect, test } from "vitest";
import { diskFolder } from "../../../runtime/load/disk-folder.ts";
import { loadTokenizer } from "../../../runtime/load/load-tokenizer.ts";
import { loadTokens } from "../../../runtime/load/load-tokens.ts";
import { openCheckpoint, openSafetensors } from "../../../runtime/load/open-checkpoint.ts";
import { readConfigFile } from "../../../runtime/model/config-file.ts";
import { find, isFolder, readBytes, readText } from "../../../runtime/files/read.ts";
import { loadModel } from "../../../runtime/load/load-model.ts";
import { fileLoader, readSource } from "../../../runtime/load/modules.ts";
import { moec } from "../../cli/support.ts";
import { expectFailure, withScratch } from "../checkpoint/scratch.ts";

const SEED = "examples/checkpoints/seed";

/** A copy of a checkpoint, in which `name` is replaced by what `make` puts there. */
async function withReplaced(
  name: string,
  make: (path: string) => unknown,
  body: (folder: string, path: string) => unknown,
): Promise<void> {
  await withScratch(async (scratch) => {
    const folder = join(scratch, "model");
    cpSync(SEED, folder, { recursive: true });
    const path = join(folder, name);
    rmSync(path, { force: true });
    await make(path);
    await body(folder, path);
  });
}

const makeFifo = (path: string): unknown => execFileSync("mkfifo", [path]);
const makeDevice = (path: string): void => symlinkSync("/dev/zero", path);
const makeFolder = (path: string): unknown => mkdirSync(path);

const kinds = [
  ["FIFO", makeFifo],
  ["device", makeDevice],
  ["folder", makeFolder],
] as const;

const readers: readonly (readonly [string, (folder: string) => unknown])[] = [
  ["model.safetensors", (folder) => openCheckpoint(folder)],
  ["model.safetensors", (folder) => openSafetensors(join(folder, "model.safetensors"))],
  ["config.json", (folder) => loadModel(folder)],
  ["config.json", (folder) => openCheckpoint(folder)],
  ["tokenizer.json", (folder) => loadTokenizer(folder)],
  ["tokenizer_config.json", (folder) => loadTokenizer(folder)],
  ["ids.bin", (folder) => loadTokens(join(folder, "ids.bin"))],
  ["a.moe", (folder) => readSource(join(folder, "a.moe"))],
];

test.each(kinds.flatMap(([kind, make]) => readers.map(([name, read]) => [kind, name, make, read] as const)))(
  "a %s in the place of %s is refused before it is opened",
  async (kind, name, make, read) => {
    await withReplaced(name, make, async (folder, path) => {
      await expectFailure(
        (async () => read(folder))(),
        name.endsWith("safetensors") ? "checkpoint/bad-header" : "file/special",
        kind,
        path,
      );
    });
  },
);

test("an index that is a FIFO is refused before it is opened, and a socket likewise", async () => {
  await withReplaced(
    "model.safetensors",
    () => undefined,
    async (folder) => {
      makeFifo(join(folder, "model.safetensors.index.json"));
      await expectFailure(openCheckpoint(folder), "file/special", "a FIFO");
    },
  );
  await withScratch(async (folder) => {
    const server = createServer().listen(join(folder, "s"));
    await new Promise((ready) => server.once("listening", ready));
    expect(() => readBytes(join(folder, "s"))).toThrow("a socket, not a file");
    server.close();
  });
});

test.each([
  ["check", (path: string) => ["check", path]],
  ["fmt", (path: string) => ["fmt", path]],
  ["import", (path: string) => ["import", path]],
  ["run", (path: string) => ["run", SEED, "--ids", path, "--logits", `${path}.out`]],
  ["eval", (path: string) => ["eval", SEED, "--text", path]],
  ["a map", (path: string) => ["inspect", SEED, "--map", path]],
])("`%s` of a FIFO ends with 1 and says what it is", async (_, args) => {
  await withScratch(async (folder) => {
    const path = join(folder, "a.moe");
    makeFifo(path);
    const run = await moec(...args(path));
    expect(run.code).toBe(1);
    expect(run.err).toContain("is a FIFO, not a file");
  });
});

test.each([
  ["grows", (path: string) => appendFileSync(path, "more")],
  ["shrinks", (path: string) => truncateSync(path, 2)],
])("a file that %s while it is read is refused", async (_, change) => {
  await withScratch(async (folder) => {
    const path = join(folder, "a");
    writeFileSync(path, "text");
    // Between being asked for its size and being read.
    const { readSync } = fs;
    fs.readSync = ((...args: Parameters<typeof readSync>) => {
      fs.readSync = readSync;
      syncBuiltinESMExports();
      change(path);
      return readSync(...args);
    }) as typeof readSync;
    syncBuiltinESMExports();
    expect(() => readBytes(path)).toThrow("file/changed");
  });
});

test("text that is not UTF-8 is refused with its line, and a mark in front is no part of it", async () => {
  await withScratch(async (folder) => {
    const path = join(folder, "a.moe");
    writeFileSync(path, Buffer.from("edition 2026\n// gr\u00fc\u00dfe\n", "latin1"));
    expect(() => readSource(path)).toThrow("cli/not-utf8");
    expect(() => readSource(path)).toThrow("line 2");
    await expectFailure(readConfigFile(diskFolder(folder)), "checkpoint/no-config", folder);
    writeFileSync(path, "\uFEFFedition 2026\n");
    expect(readText(path)).toBe("edition 2026\n");
  });
});

test("only what is not there is absent: not what lies behind a file, a circle of links, or a closed folder", async () => {
  await withScratch(async (folder) => {
    const [file, circle, closed] = ["file", "circle", "closed"].map((name) => join(folder, name)) as [
      string,
      string,
      string,
    ];
    writeFileSync(file, "");
    symlinkSync(circle, circle);
    mkdirSync(closed);
    expect(find(join(folder, "none"))).toBe(null);
    expect(() => find(join(file, "a"))).toThrow("a part of the path is a file");
    expect(isFolder(join(file, "a"))).toBe(false);
    await expectFailure(loadModel(circle), "checkpoint/unreadable", circle, "in a circle");
    await expectFailure(openCheckpoint(join(file, "a")), "checkpoint/unreadable", "a part of the path is a file");
    expect(() => fileLoader.load("./file/a", { path: join(folder, "b.moe"), text: "" })).toThrow("cli/no-file");
    chmodSync(closed, 0);
    // The superuser may look anywhere.
    if (process.getuid?.() !== 0) expect(() => find(join(closed, "a"))).toThrow("permission denied");
    chmodSync(closed, 0o700);
  });
});
