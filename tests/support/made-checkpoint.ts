/** Small checkpoints as people have them: a fixture's tensors and config.json, changed as told, written anew. */
import { readFileSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Json } from "../../compiler/index.ts";
import type { DataType } from "../../runtime/checkpoint/data-type.ts";
import { encodeHeader } from "../../runtime/checkpoint/safetensors-header.ts";
import { openCheckpoint } from "../../runtime/load/open-checkpoint.ts";

export interface MadeTensor {
  readonly name: string;
  readonly dtype: DataType;
  readonly shape: readonly number[];
  readonly bytes: Uint8Array;
}

export type Config = Readonly<Record<string, Json>>;

export const familyFolder = (family: string): string => `tests/fixtures/families/${family}`;

export const configOf = (family: string): Config =>
  JSON.parse(readFileSync(`${familyFolder(family)}/config.json`, "utf8")) as Config;

export async function tensorsOf(family: string): Promise<readonly MadeTensor[]> {
  const checkpoint = await openCheckpoint(familyFolder(family));
  try {
    const all = [...checkpoint.tensors.values()];
    return await Promise.all(
      all.map(async ({ name, dtype, shape }) => ({ name, dtype, shape, bytes: await checkpoint.readTensor(name) })),
    );
  } finally {
    await checkpoint.close();
  }
}

/** A tensor of nothing but zero bytes, `width` for each element. */
export function zeros(name: string, dtype: DataType, shape: readonly number[], width = 4): MadeTensor {
  return { name, dtype, shape, bytes: new Uint8Array(width * shape.reduce((a, b) => a * b, 1)) };
}

export const scalar = (name: string, value: number): MadeTensor => ({
  name,
  dtype: "F32",
  shape: [],
  bytes: new Uint8Array(Float32Array.of(value).buffer),
});

/** Writes a folder; gives its path. */
export async function writeModel(folder: string, config: Config, tensors: readonly MadeTensor[]): Promise<string> {
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, "config.json"), JSON.stringify(config, null, 2));
  const header = encodeHeader(tensors, { format: "pt" });
  await writeFile(join(folder, "model.safetensors"), Buffer.concat([header, ...tensors.map((t) => t.bytes)]));
  return folder;
}
