/**
 * The guides, followed step by step in a folder of their own outside of the repository: blocks with a name are files, lines `npx moec ...`
 * are run where they stand, and a block without a name after one is what it says, line by line, of a command that fails.
 */
import { execFile } from "node:child_process";
import { appendFileSync, cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, describe, expect, test } from "vitest";
import { openCheckpoint } from "../runtime/load/open-checkpoint.ts";
import { maxDifference } from "./support/close.ts";

const repository = join(import.meta.dirname, "..");
const scratch = mkdtempSync(join(tmpdir(), "moec-guide-"));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

type Step =
  | { readonly kind: "file"; readonly name: string; readonly text: string }
  | { readonly kind: "command"; readonly args: readonly string[]; readonly told: readonly string[] };

interface Guide {
  readonly page: string;
  /** What the guide takes for granted, by the word that it uses: made in the folder before the first step. */
  readonly given: Readonly<Record<string, (folder: string) => Promise<void> | void>>;
}

const guides: readonly Guide[] = [
  {
    page: "write-a-router",
    given: {
      CHECKPOINT: async (folder) => {
        const from = ["code", "law"].map((name) => join(repository, "examples/checkpoints", name));
        await run(scratch, ["upcycle", "btx", "--from", ...from, "--out", folder]);
      },
    },
  },
  { page: "write-a-block", given: { SEED: (folder) => copy("examples/checkpoints/seed", folder) } },
  {
    page: "map-a-family",
    given: {
      acme: (folder) => {
        copy("tests/fixtures/families/dbrx", folder);
        const config = join(folder, "config.json");
        writeFileSync(config, readFileSync(config, "utf8").replace('"model_type": "dbrx"', '"model_type": "acme"'));
      },
    },
  },
];

describe.each(guides)("docs: $page", ({ page, given }) => {
  test("works as it stands, in a folder of one's own", async () => {
    const folder = join(scratch, page);
    for (const [name, make] of Object.entries(given)) await make(join(folder, name));
    const steps = stepsOf(readFileSync(join(repository, "docs", `${page}.md`), "utf8"));
    expect(steps.filter((s) => s.kind === "command").length).toBeGreaterThan(3);
    for (const step of steps) {
      if (step.kind === "file") appendFileSync(join(folder, step.name), step.text);
      else {
        const { code, out, err } = await run(folder, step.args);
        const command = step.args.join(" ");
        expect({ command, code, err: code === 0 ? "" : err }).toEqual({
          command,
          code: step.told.length === 0 ? 0 : 1,
          err: step.told.length === 0 ? "" : expect.any(String),
        });
        for (const line of step.told) expect(`${out}${err}`).toContain(line);
      }
    }
    if (page === "map-a-family") await compareWithReference(folder);
  });
});

test("the guides are read", () => {
  const [file, command] = stepsOf(
    "text\n\n```moe a.moe\nedition 2026\n```\n\n    npx moec check a.moe   # note\n\n```\nerror: no\n```\n",
  );
  expect(file).toEqual({ kind: "file", name: "a.moe", text: "edition 2026\n" });
  expect(command).toEqual({ kind: "command", args: ["check", "a.moe"], told: ["error: no"] });
});

/** Files, commands and what they say, in the order of the page. Blocks that go on with a file begin after an empty line. */
function stepsOf(text: string): readonly Step[] {
  const steps: Step[] = [];
  const parts = text.matchAll(/^```(\S*) *(\S*)\n([^]*?)^```$|^ {4}npx moec (.*)$/gm);
  for (const [, language, name, body, line] of parts) {
    const last = steps.at(-1);
    if (line !== undefined) steps.push({ kind: "command", args: argumentsOf(line.replace(/ +#.*$/, "")), told: [] });
    else if (name !== undefined && name !== "") {
      const goesOn = steps.some((s) => s.kind === "file" && s.name === name);
      steps.push({ kind: "file", name, text: `${goesOn ? "\n" : ""}${body!}` });
    } else if (language === "" && last?.kind === "command")
      steps[steps.length - 1] = { ...last, told: body!.trim().split(/\n\s*/) };
  }
  return steps;
}

/** Words, or text in quotes. */
const argumentsOf = (line: string): readonly string[] =>
  [...line.matchAll(/"([^"]*)"|(\S+)/g)].map(([, quoted, word]) => quoted ?? word!);

async function run(folder: string, args: readonly string[]) {
  const main = join(repository, "cli/main.ts");
  const options = { cwd: folder, env: { ...process.env, NO_COLOR: "1" } };
  try {
    const { stdout, stderr } = await promisify(execFile)(process.execPath, [main, ...args], options);
    return { code: 0, out: stdout, err: stderr };
  } catch (error) {
    const { code, stdout, stderr } = error as { code: number; stdout: string; stderr: string };
    return { code, out: stdout, err: stderr };
  }
}

const copy = (from: string, to: string): void => cpSync(join(repository, from), to, { recursive: true });

/** The guide's model gives the reference's logits. */
async function compareWithReference(folder: string): Promise<void> {
  const golden = await openCheckpoint(join(repository, "tests/fixtures/families/dbrx/golden.safetensors"));
  try {
    const ids = await golden.toFloat32("ids.0");
    writeFileSync(join(folder, "golden.json"), JSON.stringify([[...ids]]));
    const args = ["run", "acme", "--map", "acme.moe", "--ids", "golden.json", "--logits", "golden.safetensors"];
    expect((await run(folder, args)).code).toBe(0);
    const ours = await openCheckpoint(join(folder, "golden.safetensors"));
    const difference = maxDifference(await ours.toFloat32("logits"), await golden.toFloat32("logits.0"));
    await ours.close();
    expect(difference).toBeLessThan(1e-4);
  } finally {
    await golden.close();
  }
}
