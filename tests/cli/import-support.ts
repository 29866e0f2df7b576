/** What the tests of `moec import` share: a configuration imported, checked, and its command run. */
import { join } from "node:path";
import { expect } from "vitest";
import { toFloat32 } from "../../runtime/checkpoint/data-type.ts";
import { openSafetensors } from "../../runtime/load/open-checkpoint.ts";
import { moec, temporary, writeFile } from "./support.ts";

export const checkpoint = (name: string): string => `examples/checkpoints/${name}`;
export const family = (name: string): string => `tests/fixtures/families/${name}`;

/** All tensors of a folder in float32. */
export async function readAll(folder: string): Promise<ReadonlyMap<string, Float32Array>> {
  const file = await openSafetensors(join(folder, "model.safetensors"));
  try {
    const values = new Map<string, Float32Array>();
    for (const [name, { dtype }] of file.tensors) values.set(name, toFloat32(dtype, await file.read(name)));
    return values;
  } finally {
    await file.close();
  }
}

export interface Imported {
  readonly out: string;
  readonly target: string;
  readonly command: readonly string[];
  readonly missing: readonly string[];
}

/** Imports a configuration, checks the file, runs the printed command, and gives what was written. */
export async function make(
  name: string,
  yaml: string,
): Promise<{ made: Imported; tensors: ReadonlyMap<string, Float32Array> }> {
  const run = await moec("import", writeFile(`${name}.yml`, yaml), "--json");
  expect([run.code, run.err]).toEqual([0, ""]);
  const made = JSON.parse(run.out) as Imported;
  expect((await moec("check", made.out)).code).toBe(0);
  expect((await moec("fmt", "--check", made.out)).code).toBe(0);
  const out = temporary(`${name}-model`);
  const command = made.command.slice(1).map((word, i, all) => (all[i - 1] === "--out" ? out : word));
  const upcycled = await moec(...command);
  expect([upcycled.err.includes("error"), upcycled.code]).toEqual([false, 0]);
  return { made, tensors: await readAll(out) };
}
