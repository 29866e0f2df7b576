/** The invariants of ARCHITECTURE.md that are about the code itself. */
import { execFileSync } from "node:child_process";
import { existsSync, globSync, readFileSync } from "node:fs";
import { isBuiltin } from "node:module";
import { basename } from "node:path";
import { describe, expect, test } from "vitest";
import { DERIVED, kernelNumbers, numbersOf, TUNING } from "./support/kernel-numbers.ts";
import { NAMINGS, namedOps } from "./support/op-names.ts";
import { readImports, readSources } from "./support/sources.ts";

/**
 * The rooms of `compiler/`, front, middle and back: each may import only from those before it; a new folder is put where it
 * belongs. Files of the top folder (the public face, the pipeline) come after them all.
 */
const stages = [
  ["graph", "ops", "verify", "reference"],
  ["language", "language/resolve", "language/interpret", "language/model"],
  ["weights/map", "weights/upcycle", "language/testing", "check"],
  ["plan", "passes/simplify", "passes/absorb", "passes/sparsify", "passes/tabulate", "passes"],
  ["training"],
  ["codegen/wgsl", "codegen/kernel", "codegen/schedule", "codegen/lower", "codegen/assemble"],
].flat();

/** Where a file of `compiler/` stands in the list of stages: the deepest of its folders that is there. */
function stageOf(path: string): number {
  const folders = path.split("/").slice(1, -1);
  for (let n = folders.length; n > 0; n--) {
    const at = stages.indexOf(folders.slice(0, n).join("/"));
    if (at >= 0) return at;
  }
  return folders.length === 0 ? stages.length : -1;
}

const core = readSources("grammar", "compiler");
const product = [...core, ...readSources("runtime", "cli")];
const everything = [...product, ...readSources("editor", "scripts", "tests", "bench", "examples")];
const imports = everything.flatMap(readImports);

describe("imports go one way", () => {
  /** What each top folder may import of ours; a path ending in `/` means all below it. */
  const allowed: Readonly<Record<string, readonly string[]>> = {
    grammar: ["grammar/"],
    compiler: ["compiler/", "grammar/"],
    runtime: ["runtime/", "compiler/index.ts", "compiler/plan/", "grammar/"],
    cli: ["cli/", "runtime/", "compiler/index.ts", "compiler/plan/", "grammar/"],
    editor: ["editor/", "compiler/index.ts", "grammar/"],
  };

  test.each(Object.entries(allowed))("%s/ imports only what it may know", (folder, targets) => {
    const wrong = imports.filter(
      ({ from, to }) =>
        from.startsWith(`${folder}/`) &&
        isOurs(to) &&
        !targets.some((t) => (t.endsWith("/") ? to.startsWith(t) : to === t)),
    );
    expect(wrong.map(({ from, to }) => `${from} -> ${to}`)).toEqual([]);
  });

  test("every folder of the compiler is in the list of stages", () => {
    expect(core.filter(({ path }) => path.startsWith("compiler/") && stageOf(path) < 0)).toEqual([]);
  });

  test("a stage of the compiler imports only earlier stages", () => {
    const inside = imports.filter(({ from, to }) => from.startsWith("compiler/") && to.startsWith("compiler/"));
    const wrong = inside.filter(({ from, to }) => stageOf(to) > stageOf(from));
    expect(wrong.map(({ from, to }) => `${from} -> ${to}`)).toEqual([]);
  });

  test("no file imports itself through others, types included", () => {
    const next = Map.groupBy(
      imports.filter((i) => isOurs(i.to)),
      (i) => i.from,
    );
    const done = new Set<string>();
    const cycles: string[] = [];
    const visit = (path: string, trail: readonly string[]): void => {
      if (trail.includes(path)) cycles.push([...trail.slice(trail.indexOf(path)), path].join(" -> "));
      if (trail.includes(path) || done.has(path)) return;
      for (const { to } of next.get(path) ?? []) visit(to, [...trail, path]);
      done.add(path);
    };
    for (const { path } of everything) visit(path, []);
    expect(cycles).toEqual([]);
  });
});

describe("grammar/ and compiler/ are pure", () => {
  test("they import no module of Node and no GPU", () => {
    const wrong = imports.filter(({ from, to }) => /^(grammar|compiler)\//.test(from) && /^(node:|webgpu$)/.test(to));
    expect(wrong).toEqual([]);
  });

  test("they use no clock, no randomness, no process and no output", () => {
    const impure =
      /\b(?:process\.|new Date\b|Date\.|Math\.random\b|performance\.|console\.|fetch\(|setTimeout\(|crypto\.)/;
    expect(core.filter(({ code }) => impure.test(code)).map(({ path }) => path)).toEqual([]);
  });
});

describe("what a browser runs needs no Node", () => {
  /** Rooms of the runtime that drive a device wherever there is one; whatever they import is held to the same. */
  const rooms = ["gpu", "session", "measure", "plan", "checkpoint", "model", "tokenizer", "testing"];
  const portable = ["runtime/portable.ts", ...rooms.map((room) => `runtime/${room}/`)];
  const starts = product.filter(({ path }) => portable.some((room) => path.startsWith(room)));
  /** Each file that they reach, imports of types included, by the file that was first to import it. */
  const reached = new Map(starts.map(({ path }) => [path, path]));
  const next = Map.groupBy(imports, ({ from }) => from);
  // A map goes on over what is added to it meanwhile.
  for (const [path] of reached)
    for (const { to } of next.get(path) ?? []) if (isOurs(to) && !reached.has(to)) reached.set(to, path);
  const files = product.filter(({ path }) => reached.has(path));
  const told = (path: string): string => `${path}, which ${reached.get(path)} imports`;

  test("every room has files, and all that they import is looked at", () => {
    expect(portable.filter((room) => !starts.some(({ path }) => path.startsWith(room)))).toEqual([]);
    expect([...reached.keys()].filter((path) => !files.some((file) => file.path === path))).toEqual([]);
  });

  test("they reach no module of Node and not Dawn's package", () => {
    const wrong = files.flatMap(readImports).filter(({ to }) => /^(?:node:|webgpu$)/.test(to) || isBuiltin(to));
    expect(wrong.map(({ from, to }) => `${to} in ${told(from)}`)).toEqual([]);
  });

  test("they use nothing that Node alone has in its global scope", () => {
    const own =
      /\b(?:process\s*\.|Buffer\s*\.|setImmediate\b|Atomics\.wait\(|SharedArrayBuffer\b|__dirname\b|require\()/;
    expect(files.filter(({ code }) => own.test(code)).map(({ path }) => told(path))).toEqual([]);
  });
});

test("one module reaches the file system, so that a test can make any call to it fail", () => {
  const reaching = imports.filter(
    ({ from, to }) => /^(runtime|cli)\//.test(from) && /^(node:)?fs(\/promises)?$/.test(to),
  );
  expect(reaching.map(({ from }) => from)).toEqual(["runtime/files/system.ts"]);
  // Nor by another way than an import.
  const other = /getBuiltinModule|createRequire|process\.binding/;
  expect(readSources("runtime", "cli").filter(({ code }) => other.test(code))).toEqual([]);
});

test("no file has more than 400 lines", () => {
  const long = everything.filter(({ path, text }) => !path.includes(".generated.") && text.split("\n").length > 401);
  expect(long.map(({ path }) => path)).toEqual([]);
});

describe("an op is asked for by name only where that has a reason", () => {
  const asked = namedOps();
  const fits = ({ room, ops }: (typeof NAMINGS)[number], { path, op }: (typeof asked)[number]): boolean =>
    path.startsWith(room) && (ops?.includes(op) ?? true);

  test("every question has one; anything else goes by the op's row", () => {
    const without = asked.filter((a) => !NAMINGS.some((n) => fits(n, a)));
    expect(without.map(({ path, op }) => `${path}: ${op}`)).toEqual([]);
  });

  test("every reason has its question", () => {
    const unasked = NAMINGS.flatMap((n) =>
      (n.ops ?? [null])
        .filter((op) => !asked.some((a) => fits(n, a) && (op ?? a.op) === a.op))
        .map((op) => [n.room, op]),
    );
    expect(unasked).toEqual([]);
  });
});

describe("numbers of kernels are rows of one table", () => {
  const found = kernelNumbers();
  const derived = DERIVED.flatMap(({ path, numbers }) => numbers.map((value) => ({ path, value })));

  test("a kernel has none of its own but those that follow from something", () => {
    const own = found.filter((n) => !derived.some((d) => d.path === n.path && d.value === n.value));
    expect(own.map(({ path, line, value }) => `${path}:${line}: ${value} belongs into ${TUNING}`)).toEqual([]);
  });

  test("what follows from something is there", () => {
    const gone = derived.filter((d) => !found.some((n) => n.path === d.path && n.value === d.value));
    expect(gone).toEqual([]);
  });

  test("each row of the table says what it is", () => {
    const lines = readFileSync(TUNING, "utf8").split("\n");
    const table = lines.slice(lines.indexOf("export const tuning = {") + 1, lines.indexOf("} as const;"));
    const rows = table.flatMap((line, i) => (/^ {2,4}\w+:/.test(line) ? [{ line, above: table[i - 1] ?? "" }] : []));
    expect(rows.length).toBeGreaterThan(50);
    expect(rows.filter(({ above }) => !above.endsWith("*/")).map(({ line }) => line)).toEqual([]);
  });

  test("they are seen wherever they stand, but in a piece of WGSL", () => {
    const text = "export const LANES = 4;\nconst f = (n: number) => `let x = 64u; ${Math.min(n + 1, 32)}`;\n";
    expect(numbersOf(text)).toEqual([
      { line: 1, value: 4 },
      { line: 2, value: 32 },
    ]);
  });
});

describe("the library is not known by name", () => {
  // Types and verbs of the language are words that its compiler has to write.
  const wordsOfTheLanguage = new Set(["sparse", "dense", "slerp", "dare"]);
  const files = globSync("stdlib/**/*.moe").map((path) => path.replaceAll("\\", "/"));
  const declared = files.flatMap((path) => {
    const text = readFileSync(path, "utf8");
    // An optimizer is declared like any layer or function; its folder says what it is.
    const kinds = path.startsWith("stdlib/optim") ? "\\w+" : "router|model|upcycle|map";
    return [...text.matchAll(new RegExp(`^(?:${kinds}) (\\w+)\\b`, "gm"))].map((m) => m[1] ?? "");
  });
  const families = files.filter((path) => path.startsWith("stdlib/families/")).map((path) => basename(path, ".moe"));
  const names = new Set([...declared, ...families].filter((name) => !wordsOfTheLanguage.has(name)));

  test("there is a library to look for", () => {
    expect(declared.length).toBeGreaterThan(0);
    expect(families.length).toBeGreaterThan(0);
  });

  test("no router, upcycling, optimizer or model family is named in the product's code", () => {
    const found = product.flatMap(({ path, code }) =>
      [...new Set(code.match(/[A-Za-z_]\w*/g))].filter((word) => names.has(word)).map((word) => `${path}: ${word}`),
    );
    expect(found).toEqual([]);
  });
});

describe("diagnostics are documented", () => {
  const codes = new Set(
    product.flatMap(({ code }) => [...code.matchAll(/"([a-z]+\/[a-z][a-z0-9-]*)"/g)].map((m) => m[1] ?? "")),
  );
  const index = existsSync("ERRORS.md") ? readFileSync("ERRORS.md", "utf8") : "";
  const entries = new Set([...index.matchAll(/^#+ `?([a-z]+\/[a-z0-9-]+)`?$/gm)].map((m) => m[1] ?? ""));

  test("every code has an entry in ERRORS.md", () => {
    expect([...codes].filter((code) => !entries.has(code)).sort()).toEqual([]);
  });

  test("every entry of ERRORS.md belongs to a code", () => {
    expect([...entries].filter((code) => !codes.has(code)).sort()).toEqual([]);
  });
});

describe("what is committed", () => {
  const tracked = execFileSync("git", ["ls-files", "-z"], { encoding: "utf8" }).split("\0").filter(Boolean);
  const text = (path: string) =>
    /\.(safetensors|bin|gguf)$/.test(path) || !existsSync(path) ? "" : readFileSync(path, "utf8");

  test("names no place on a developer's machine", () => {
    const homes = new RegExp(`(?:^|[\\s"'\`(=])/(?:${["home", "Users", "root"].join("|")})/\\w`, "m");
    const wrong = tracked.filter((path) => homes.test(text(path)) || text(path).includes(`${process.cwd()}/`));
    expect(wrong).toEqual([]);
  });

  test("records no download address in a lock file", () => {
    const locks = tracked.filter((path) => basename(path) === "package-lock.json");
    expect(locks.length).toBeGreaterThan(0);
    expect(locks.filter((path) => text(path).includes('"resolved":'))).toEqual([]);
  });
});

function isOurs(path: string): boolean {
  return path.endsWith(".ts") || path.endsWith(".mjs") || path.endsWith(".js");
}

test("the READMEs of runtime/ and cli/ name every file and room of theirs", () => {
  for (const folder of ["runtime", "cli"]) {
    const text = readFileSync(`${folder}/README.md`, "utf8");
    const entries = globSync(`${folder}/*`, { withFileTypes: true });
    const names = entries.map((e) => (e.isDirectory() ? `${e.name}/` : e.name)).filter((name) => name !== "README.md");
    expect(names.filter((name) => !text.includes(`\`${name}\``))).toEqual([]);
  }
  const architecture = readFileSync("ARCHITECTURE.md", "utf8");
  expect(
    stages.filter((stage) => !architecture.includes(`\`${stage}`) && !architecture.includes(`\`${basename(stage)}/`)),
  ).toEqual([]);
});
