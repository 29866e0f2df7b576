/** Where commands may write: never over what is not moec's, whatever name it is given by. */
import { execFileSync } from "node:child_process";
import {
  appendFileSync,
  chmodSync,
  cpSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { withScratch } from "../runtime/checkpoint/scratch.ts";
import { moec } from "./support.ts";

const SOURCE = "tests/fixtures/families/llama_rope3";
const CROOKED = "edition 2026\nlayer  Twice(D){forward(x: [T,D]) -> [T, D]=x*2}\n";

const names = (folder: string): string[] => readdirSync(folder).sort();
const exportTo = (out: string, ...more: string[]) => moec("export", SOURCE, "--out", out, "--overwrite", ...more);
const buildTo = (out: string) => moec("build", "examples/03-model.moe", "--kind", "gpu", "--out", out);

/** What each puts into the place of the output; it must all be there afterwards. */
const places: readonly (readonly [string, (out: string) => void, string])[] = [
  ["an ordinary file", (out) => writeFileSync(out, "precious"), "is a file"],
  ["a link to a folder", (out) => (mkdirSync(`${out}.real`), symlinkSync(`${out}.real`, out)), "is a link"],
  ["a link to nothing", (out) => symlinkSync(`${out}.none`, out), "is a link"],
  ["a FIFO", (out) => execFileSync("mkfifo", [out]), "is a FIFO"],
  [
    "a folder with a file of the user's",
    (out) => (mkdirSync(out), writeFileSync(join(out, "thesis.tex"), "a")),
    "holds other files",
  ],
  [
    "a folder with weights and a plan of others",
    (out) => {
      mkdirSync(out);
      for (const name of ["plan.json", "model.safetensors", "config.json"]) writeFileSync(join(out, name), "{}");
    },
    "holds other files",
  ],
  ["a checkpoint from elsewhere", (out) => cpSync(SOURCE, out, { recursive: true }), "holds other files"],
];

const look = (folder: string): unknown =>
  readdirSync(folder, { recursive: true, encoding: "utf8" })
    .sort()
    .map((path) => {
      const stats = lstatSync(join(folder, path));
      return [
        path,
        stats.mode,
        stats.ino,
        stats.isFile()
          ? readFileSync(join(folder, path), "latin1")
          : stats.isSymbolicLink()
            ? readlinkSync(join(folder, path))
            : "",
      ];
    });

describe.each([
  ["export", exportTo],
  ["build", buildTo],
] as const)("`%s --out`", (_, run) => {
  test.each(places)("%s is refused and left alone", async (_name, make, words) => {
    await withScratch(async (scratch) => {
      const out = join(scratch, "out");
      make(out);
      const before = look(scratch);
      const { code, err } = await run(out);
      expect(code, err).toBe(1);
      // Without the code for both kinds of output.
      expect(err.replace(/holds what moec did not write/, "holds other files")).toContain(words);
      expect(look(scratch)).toEqual(before);
    });
  });

  test("a file of the user's beside what moec wrote, or a change of his, is named and kept", async () => {
    await withScratch(async (scratch) => {
      const out = join(scratch, "out");
      expect((await run(out)).code).toBe(0);
      writeFileSync(join(out, "notes.txt"), "mine");
      const added = await run(out);
      expect(added.code).toBe(1);
      expect(added.err).toContain("`notes.txt`");
      unlinkSync(join(out, "notes.txt"));
      const own = names(out).find((name) => name === "config.json" || name === "plan.json")!;
      appendFileSync(join(out, own), "\n");
      const changed = await run(out);
      expect(changed.code).toBe(1);
      expect(changed.err).toContain(`\`${own}\`, which was changed since`);
      expect(readFileSync(join(out, own), "utf8").endsWith("\n\n")).toBe(true);
    });
  });

  test("what moec wrote is replaced, also a copy of it, and nothing is left beside it", async () => {
    await withScratch(async (scratch) => {
      const [out, copy] = [join(scratch, "out"), join(scratch, "copy")];
      expect((await run(out)).code).toBe(0);
      cpSync(out, copy, { recursive: true });
      // All are younger than the manifest, and are the same.
      for (const name of names(copy)) if (name !== "moec.manifest.json") utimesSync(join(copy, name), 2e9, 2e9);
      for (const target of [out, copy]) expect(await run(target)).toMatchObject({ code: 0 });
      expect(names(scratch)).toEqual(["copy", "out"]);
    });
  });

  test("the folder that one is in is not replaced", async () => {
    const before = process.cwd();
    await withScratch(async (scratch) => {
      const source = join(before, SOURCE);
      const model = join(before, "examples/03-model.moe");
      mkdirSync(join(scratch, "a", "b"), { recursive: true });
      process.chdir(join(scratch, "a", "b"));
      try {
        for (const out of [".", "..", join(scratch, "a"), "./"]) {
          const { code, err } =
            run === exportTo
              ? await moec("export", source, "--overwrite", "--out", out)
              : await moec("build", model, "--kind", "gpu", "--out", out);
          expect(code, err).toBe(1);
          expect(err).toContain("is the folder that this runs in");
        }
      } finally {
        process.chdir(before);
      }
    });
  });
});

test.each([
  ["changed where they stand", (weights: string, bytes: Uint8Array) => writeFileSync(weights, bytes)],
  [
    "moved there, older than the rest",
    (weights: string, bytes: Uint8Array) => {
      writeFileSync(`${weights}.other`, bytes);
      utimesSync(`${weights}.other`, 1e9, 1e9);
      renameSync(`${weights}.other`, weights);
    },
  ],
])("weights that somebody %s are named, though their size is the same", async (_, change) => {
  await withScratch(async (scratch) => {
    const out = join(scratch, "out");
    await exportTo(out);
    const weights = join(out, "model.safetensors");
    const bytes = readFileSync(weights);
    bytes[bytes.length - 1]! ^= 1;
    change(weights, bytes);
    const { code, err } = await exportTo(out);
    expect(code).toBe(1);
    expect(err).toContain("`model.safetensors`, which was changed since");
    expect(readFileSync(weights).equals(bytes)).toBe(true);
  });
});

test("a checkpoint of a moec without manifests is replaced when all in it is of such a moec", async () => {
  await withScratch(async (scratch) => {
    const out = join(scratch, "out");
    await exportTo(out);
    rmSync(join(out, "moec.manifest.json"));
    writeFileSync(join(out, "notes.txt"), "mine");
    expect((await exportTo(out)).err).toContain("`notes.txt`");
    rmSync(join(out, "notes.txt"));
    expect(await exportTo(out)).toMatchObject({ code: 0 });
    expect(names(out)).toContain("moec.manifest.json");
  });
});

test("without --overwrite nothing is replaced, and one kind of output never takes the place of another", async () => {
  await withScratch(async (scratch) => {
    const out = join(scratch, "out");
    await exportTo(out);
    expect((await moec("export", SOURCE, "--out", out)).err).toContain("--overwrite");
    expect((await buildTo(out)).err).toContain("it is not a plan that moec wrote");
  });
});

describe("an output that is a source is refused", () => {
  const ways: readonly (readonly [string, (scratch: string) => string])[] = [
    ["itself", (scratch) => join(scratch, "a")],
    ["with a slash", (scratch) => `${join(scratch, "a")}/`],
    ["with dots", (scratch) => `${scratch}/a/../a/.`],
    ["its parent", (scratch) => scratch],
    ["a new folder in it", (scratch) => join(scratch, "a", "new")],
    ["by a link above it", (scratch) => (symlinkSync(scratch, join(scratch, "link")), join(scratch, "link", "a"))],
    [
      "a new folder in it, by a link",
      (scratch) => (symlinkSync(join(scratch, "a"), join(scratch, "link")), join(scratch, "link", "new")),
    ],
  ];
  test.each(ways)("%s", async (_, outOf) => {
    await withScratch(async (scratch) => {
      const source = join(scratch, "a");
      expect((await exportTo(source)).code).toBe(0);
      const out = outOf(scratch);
      const before = look(scratch);
      const { code, err } = await moec("upcycle", "average", "--from", source, SOURCE, "--out", out, "--overwrite");
      expect(code, err).toBe(1);
      expect(err).toContain("checkpoint/target-is-source");
      expect(look(scratch)).toEqual(before);
    });
  });

  test("a source that links to the weights of a folder is one of that folder", async () => {
    await withScratch(async (scratch) => {
      const [out, source] = [join(scratch, "out"), join(scratch, "source")];
      await exportTo(out);
      mkdirSync(source);
      for (const name of names(out)) symlinkSync(join(out, name), join(source, name));
      const { err } = await moec("export", source, "--out", out, "--overwrite");
      expect(err).toContain("checkpoint/target-is-source");
      expect(existsSync(join(out, "model.safetensors"))).toBe(true);
    });
  });
});

describe("files that are written back", () => {
  test("`fmt` keeps links, modes, line ends and the mark in front", async () => {
    await withScratch(async (scratch) => {
      const [file, link] = [join(scratch, "a.moe"), join(scratch, "link.moe")];
      writeFileSync(file, `\uFEFF${CROOKED.replaceAll("\n", "\r\n")}`);
      chmodSync(file, 0o600);
      symlinkSync("a.moe", link);
      expect(await moec("fmt", link)).toMatchObject({ code: 0 });
      expect(readlinkSync(link)).toBe("a.moe");
      expect(statSync(file).mode & 0o777).toBe(0o600);
      const text = readFileSync(file, "utf8");
      expect(text.startsWith("\uFEFFedition 2026\r\n")).toBe(true);
      expect(text.replaceAll("\r\n", "")).not.toMatch(/[\r\n]/);
      expect(await moec("fmt", "--check", file)).toMatchObject({ code: 0 });
      expect(names(scratch)).toEqual(["a.moe", "link.moe"]);
    });
  });

  test("`fmt` refuses what is not UTF-8, and leaves all files alone when one is wrong", async () => {
    await withScratch(async (scratch) => {
      const [first, second] = [join(scratch, "a.moe"), join(scratch, "b.moe")];
      writeFileSync(first, CROOKED);
      const bytes = Buffer.concat([Buffer.from(CROOKED), Buffer.from([0x2f, 0x2f, 0xfc, 10])]);
      writeFileSync(second, bytes);
      const { code, err } = await moec("fmt", first, second);
      expect(code).toBe(1);
      expect(err).toContain("cli/not-utf8");
      expect(err).toContain("line 3");
      expect(readFileSync(second).equals(bytes)).toBe(true);
      expect(readFileSync(first, "utf8")).toBe(CROOKED);
    });
  });

  test("a file with two names is not parted from the other", async () => {
    await withScratch(async (scratch) => {
      const file = join(scratch, "a.moe");
      writeFileSync(file, CROOKED);
      linkSync(file, join(scratch, "b.moe"));
      expect((await moec("fmt", file)).err).toContain("cli/cannot-write");
      expect(readFileSync(file, "utf8")).toBe(CROOKED);
    });
  });

  const logits: readonly (readonly [string, (path: string, ids: string) => void, string])[] = [
    ["a FIFO", (path) => execFileSync("mkfifo", [path]), "it is a FIFO"],
    ["a device", (path) => symlinkSync("/dev/null", path), "it is a device"],
    ["a folder", (path) => mkdirSync(path), "it is a folder"],
    ["a link to nothing", (path) => symlinkSync("none", path), "a link to nothing"],
    ["the file of ids", (path, ids) => symlinkSync(ids, path), "one of the files that are read"],
    ["a folder that is not there", (path) => symlinkSync(`${path}.none/a`, path), "a link to nothing"],
  ];
  test.each(logits)("`run --logits` does not replace %s", async (_, make, words) => {
    await withScratch(async (scratch) => {
      const [path, ids] = [join(scratch, "out"), join(scratch, "ids.json")];
      writeFileSync(ids, "[[1, 2]]");
      make(path, ids);
      const before = look(scratch);
      const { code, err } = await moec("run", SOURCE, "--ids", ids, "--logits", path);
      expect(code, err).toBe(1);
      expect(err).toContain(words);
      expect(look(scratch)).toEqual(before);
    });
  });

  test("`run --logits` does not replace weights that it reads, and keeps the mode of a file", async () => {
    await withScratch(async (scratch) => {
      const [source, ids, path] = [join(scratch, "a"), join(scratch, "ids.json"), join(scratch, "out")];
      cpSync(SOURCE, source, { recursive: true });
      writeFileSync(ids, "[[1, 2]]");
      const weights = join(source, "model.safetensors");
      const before = readFileSync(weights);
      expect((await moec("run", source, "--ids", ids, "--logits", weights)).err).toContain("files that are read");
      expect(readFileSync(weights).equals(before)).toBe(true);
      writeFileSync(path, "old");
      chmodSync(path, 0o600);
      expect(await moec("run", source, "--ids", ids, "--logits", path)).toMatchObject({ code: 0 });
      expect(statSync(path).mode & 0o777).toBe(0o600);
      expect(statSync(path).size).toBeGreaterThan(3);
    });
  });

  test("`import` takes no name that is somebody's, a link to nothing among them", async () => {
    await withScratch(async (scratch) => {
      const [yaml, out] = [join(scratch, "m.yml"), join(scratch, "m.moe")];
      writeFileSync(yaml, "base_model: base\ngate_mode: random\nexperts:\n  - source_model: a\n  - source_model: b\n");
      symlinkSync("none", out);
      expect((await moec("import", yaml)).err).toContain("cli/file-exists");
      expect(readlinkSync(out)).toBe("none");
    });
  });
});
