/** Runs command lines within the test's process: what they print is caught, the exit code is theirs. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, vi } from "vitest";

// Colours are decided when the module is loaded; what is compared here is text.
process.env["NO_COLOR"] = "1";
const { runCommand } = await import("../../cli/program.ts");

export interface Run {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

export async function moec(...args: readonly string[]): Promise<Run> {
  const [before, out, err]: [typeof process.exitCode, string[], string[]] = [process.exitCode, [], []];
  const catchInto = (lines: string[]) => (text: string | Uint8Array) => lines.push(String(text)) > 0;
  const spies = [
    vi.spyOn(process.stdout, "write").mockImplementation(catchInto(out)),
    vi.spyOn(process.stderr, "write").mockImplementation(catchInto(err)),
  ];
  process.exitCode = 0;
  try {
    const code = await runCommand(args);
    return { code, out: out.join(""), err: err.join("") };
  } finally {
    for (const spy of spies) spy.mockRestore();
    process.exitCode = before;
  }
}

const folder = mkdtempSync(join(tmpdir(), "moec-cli-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** A file for the length of the test file; gives its path. */
export function writeFile(name: string, text: string | Uint8Array): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

/** Path of something that a command will make. */
export const temporary = (name: string): string => join(folder, name);

/** Messages without the folder of this run. */
export const anonymous = (text: string): string => text.replaceAll(`${folder}/`, "");
