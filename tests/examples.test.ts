/** The examples that are programs run, as a reader would run them. The `.moe` ones are checked with the standard library. */
import { execFile } from "node:child_process";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, test } from "vitest";

const folder = join(import.meta.dirname, "..", "examples");
const programs = readdirSync(folder).filter((name) => name.endsWith(".ts"));

test("there is a program", () => expect(programs).not.toEqual([]));

test.each(programs)("%s runs and writes text", async (name) => {
  const { stdout } = await promisify(execFile)(process.execPath, [join(folder, name)]);
  expect(stdout.trim().length).toBeGreaterThan(20);
});
