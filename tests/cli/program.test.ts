/** How the command line behaves around its commands: help, wrong calls, exit codes. */
import { spawnSync } from "node:child_process";
import { stripVTControlCharacters } from "node:util";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test, vi } from "vitest";
import { moec, temporary, writeFile } from "./support.ts";

const commands = [
  "check",
  "test",
  "fmt",
  "explain",
  "inspect",
  "build",
  "run",
  "eval",
  "route",
  "generate",
  "profile",
  "train",
  "upcycle",
  "import",
  "devices",
];

test("the help lists every command", async () => {
  const run = await moec("--help");
  expect(run.code).toBe(0);
  for (const command of commands) expect(run.out).toMatch(new RegExp(`^  ${command} `, "m"));
});

test.each(commands)("the help of `%s` ends with an example", async (command) => {
  const run = await moec(command, "--help");
  expect(run.code).toBe(0);
  expect(run.out).toMatchSnapshot();
  expect(run.out).toMatch(/\nExamples?:\n {2}moec /);
});

test.each([
  ["an unknown command", ["chek", "a.moe"], "did you mean `check`?"],
  ["an unknown option", ["check", "--jsn", "a.moe"], "--json"],
  ["a missing argument", ["check"], "missing required argument"],
  ["a missing file", ["check", "nothing.moe"], "there is no such file"],
  ["a folder without the language", ["check", "tests/cli"], "there is no .moe file"],
  ["an unknown error code", ["explain", "shape/axis-mismach"], "did you mean `shape/axis-mismatch`?"],
  ["nothing to test", ["test"], "give files or folders"],
  ["a missing checkpoint", ["inspect", "nowhere"], "there is no folder nowhere"],
  ["a file without a config", ["inspect", "examples/01-mlp.moe"], "declares no config"],
  ["a typo in a config's name", ["inspect", "examples/03-model.moe", "--config", "smal"], "did you mean `small`?"],
  ["a count that is none", ["inspect", "examples/03-model.moe", "--depth", "x"], "whole number"],
])("%s ends with 1 and a message without a trace", async (_, args, words) => {
  const run = await moec(...args);
  expect(run.code).toBe(1);
  expect(run.err).toContain(words);
  expect(run.err).not.toMatch(/\n\s+at /);
  expect(run.out).toBe("");
});

test("a mistake of ours ends with 70 and its trace", async () => {
  const stringify = vi.spyOn(JSON, "stringify").mockImplementation(() => {
    throw new TypeError("a broken part");
  });
  try {
    const run = await moec("check", "--json", "examples/01-mlp.moe");
    expect(run.code).toBe(70);
    expect(run.err).toContain("please report it");
    expect(run.err).toMatch(/TypeError: a broken part\n\s+at /);
  } finally {
    stringify.mockRestore();
  }
});

test("with --json a mistake is one document too", async () => {
  const run = await moec("inspect", "nowhere", "--json");
  expect(run.code).toBe(1);
  expect(JSON.parse(run.out)).toMatchObject({ ok: false, diagnostics: [{ code: "checkpoint/no-folder", labels: [] }] });
});

test.each([
  ["an option without its value", ["inspect", "--json", "--config"]],
  ["a missing option", ["generate", "nowhere", "--json"]],
  ["a command that is not there", ["inspekt", "--json"]],
])("with --json %s is one document too", async (_, args) => {
  const run = await moec(...args);
  expect(run.code).toBe(1);
  expect(JSON.parse(run.out)).toMatchObject({ ok: false, diagnostics: [{ code: "cli/usage" }] });
});

test("a reader that stops early is no failure", () => {
  const command = `"${process.execPath}" cli/bin.js inspect examples/03-model.moe; echo "code $?" >&2`;
  const run = spawnSync("sh", ["-c", `{ ${command}; } | head -n 1`], { encoding: "utf8" });
  expect(run.stderr).toBe("code 0\n");
  expect(run.stdout.split("\n")).toHaveLength(2);
});

test("a reader that stops early does not stop a command that makes files", () => {
  const out = temporary("early.plan");
  const command = `sleep 1; "${process.execPath}" cli/bin.js build examples/03-model.moe --kind gpu --json --out "${out}"; echo "code $?" >&2`;
  const run = spawnSync("sh", ["-c", `{ ${command}; } | true`], { encoding: "utf8" });
  expect(run.stderr).toMatch(/code 0\n$/);
  expect(existsSync(join(out, "plan.json"))).toBe(true);
});

test.runIf(existsSync("/dev/full"))("a disk that is too full for what is printed is told, with 1", () => {
  const run = spawnSync("sh", ["-c", `"${process.execPath}" cli/bin.js explain > /dev/full`], { encoding: "utf8" });
  expect(run.status).toBe(1);
  expect(run.stderr).toContain("error[cli/cannot-write]: cannot write to stdout: the disk is full");
  expect(run.stderr.split("\n")).toHaveLength(3);
});

test("--trace adds the trace to a user's mistake", async () => {
  const run = await moec("check", "nothing.moe", "--trace");
  expect(run.code).toBe(1);
  expect(run.err).toMatch(/\n\s+at /);
});

test("the process ends with the code of its command", () => {
  const run = spawnSync(process.execPath, ["cli/bin.js", "check", "nothing.moe"], { encoding: "utf8" });
  expect(run.status).toBe(1);
  expect(run.stderr).toContain("error[cli/no-file]");
});

test("fmt writes the one layout, and --check only names what would change", async () => {
  const crooked = "edition 2026\nlayer  Twice(D){forward(x: [T,D]) -> [T, D]=x*2}\n";
  const path = writeFile("crooked.moe", crooked);
  expect(await moec("fmt", "--check", path)).toMatchObject({ code: 1, out: `${path}\n` });
  expect(readFileSync(path, "utf8")).toBe(crooked);
  expect(await moec("fmt", path)).toMatchObject({ code: 0 });
  expect(readFileSync(path, "utf8")).not.toBe(crooked);
  expect(await moec("fmt", "--check", path)).toMatchObject({ code: 0, out: "" });
});

test("fmt leaves a file with syntax errors alone", async () => {
  const broken = "edition 2026\nlayer Twice(D { }\n";
  const path = writeFile("broken.moe", broken);
  expect(await moec("fmt", path)).toMatchObject({ code: 1 });
  expect(readFileSync(path, "utf8")).toBe(broken);
  expect(temporary("broken.moe")).toBe(path);
});

test("a mistake is told in a pipe, whether colours are spoken of or not", () => {
  const { NO_COLOR: _, FORCE_COLOR: __, ...plain } = process.env;
  for (const env of [plain, { ...plain, NO_COLOR: "1" }, { ...plain, FORCE_COLOR: "1" }]) {
    const run = spawnSync(process.execPath, ["cli/bin.js", "check", "nothing.moe"], { encoding: "utf8", env });
    expect(run.status).toBe(1);
    expect(stripVTControlCharacters(run.stderr)).toMatch(/^error\[/);
    expect(run.stderr.split("\n").length).toBeLessThan(8);
  }
});
