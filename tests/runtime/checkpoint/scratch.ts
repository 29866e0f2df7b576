/** What the tests of checkpoints share: a directory of their own, files from raw parts, and the code of an error. */
import { existsSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "vitest";
import { MoeError } from "../../../grammar/diagnostic.ts";

/** Where there is one, a disk in memory: its flushes take no time. */
export const MEMORY = existsSync("/dev/shm") ? "/dev/shm" : tmpdir();

/** Runs `body` with a new directory, which is gone afterwards. */
export async function withScratch<T>(body: (directory: string) => Promise<T>, parent = tmpdir()): Promise<T> {
  const directory = await mkdtemp(join(parent, "moec-test-"));
  try {
    return await body(directory);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

/** A safetensors file from any header text, sound or not, and `dataBytes` bytes of data 0, 1, 2, ... */
export async function writeRaw(
  path: string,
  header: string | Uint8Array,
  dataBytes: number,
  length?: bigint,
): Promise<void> {
  const json = typeof header === "string" ? new TextEncoder().encode(header) : header;
  const prefix = new Uint8Array(8);
  new DataView(prefix.buffer).setBigUint64(0, length ?? BigInt(json.byteLength), true);
  const data = Uint8Array.from({ length: dataBytes }, (_, i) => i);
  await writeFile(path, Buffer.concat([prefix, json, data]));
}

/** Expects one diagnostic, with this code and with all of `parts` in its message, notes or help. */
export async function expectFailure(action: Promise<unknown>, code: string, ...parts: string[]): Promise<void> {
  const error: unknown = await action.then(
    () => null,
    (cause: unknown) => cause,
  );
  expect(error).toBeInstanceOf(MoeError);
  const [diagnostic] = (error as MoeError).diagnostics;
  expect(diagnostic!.code).toBe(code);
  for (const part of parts)
    expect([diagnostic!.message, ...diagnostic!.notes, diagnostic!.help].join("\n")).toContain(part);
}
