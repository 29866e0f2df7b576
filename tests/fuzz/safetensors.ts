/**
 * Weight files and the index beside them: the length in front of a header, the header's JSON, dtypes, shapes, offsets, names; how much
 * data follows. Opened as a checkpoint of small tensors, every tensor read.
 */
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { encodeHeader } from "../../runtime/checkpoint/safetensors-header.ts";
import { openCheckpoint } from "../../runtime/load/open-checkpoint.ts";
import { INDEX_NAME } from "../../runtime/checkpoint/shard-index.ts";
import { type Bench, type Input, Nonsense } from "./kind.ts";
import { type Json, mutateJson } from "./mutate-json.ts";
import type { Random } from "./random.ts";

const SPECS = [
  { name: "model.embed_tokens.weight", dtype: "F32", shape: [4, 2] },
  { name: "model.norm.weight", dtype: "BF16", shape: [2] },
  { name: "blocks", dtype: "U8", shape: [1, 2, 2] },
  { name: "scalar", dtype: "F16", shape: [] },
  { name: "nothing", dtype: "I64", shape: [0, 3] },
] as const;

const bytes = (text: string): Buffer => Buffer.from(text, "latin1");

function sound(specs: readonly (typeof SPECS)[number][]): { readonly header: Json; readonly data: number } {
  const text = Buffer.from(encodeHeader(specs, { format: "pt" }).subarray(8)).toString("utf8");
  const header = JSON.parse(text) as Record<string, { data_offsets: number[] }>;
  return {
    header: header as unknown as Json,
    data: Math.max(...Object.values(header).map((e) => e.data_offsets?.[1] ?? 0)),
  };
}

function assemble(json: string, data: number, length = Buffer.byteLength(json)): string {
  const prefix = Buffer.alloc(8);
  prefix.writeBigUInt64LE(BigInt.asUintN(64, BigInt(length)));
  return prefix.toString("latin1") + Buffer.from(json).toString("latin1") + "\x01".repeat(data);
}

/** Lengths of a header that are not its own. */
const LENGTHS = [0, 1, 2, 7, 100_000_000, 100_000_001, 2 ** 31, 2 ** 32, 2 ** 53, -1, -8];

export async function openSafetensorsBench(folder: string): Promise<Bench> {
  const whole = sound(SPECS);
  const parts = [sound(SPECS.slice(0, 2)), sound(SPECS.slice(2))];
  const names = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];
  const map = Object.fromEntries(SPECS.map(({ name }, i) => [name, names[i < 2 ? 0 : 1]!]));
  const index: Json = { metadata: { total_size: whole.data }, weight_map: map };
  const single = join(folder, "single");
  const sharded = join(folder, "sharded");
  await mkdir(single);
  await mkdir(sharded);
  for (const [i, part] of parts.entries())
    await writeFile(join(sharded, names[i]!), bytes(assemble(JSON.stringify(part.header), part.data)));

  const documents = [whole.header, ...parts.map((p) => p.header), index];
  return {
    make(random: Random): Input {
      if (random.chance(0.25)) return { at: "index", text: mutateJson(index, random, documents) };
      const json = random.chance(0.85) ? mutateJson(whole.header, random, documents) : JSON.stringify(whole.header);
      const data = Math.max(0, random.chance(0.8) ? whole.data : whole.data + random.pick([-whole.data, -1, 1, 8, -8]));
      const own = Buffer.byteLength(json);
      const length = random.chance(0.85) ? own : random.pick([...LENGTHS, own + 1, own - 1, own + data]);
      let text = assemble(json, data, length);
      if (random.chance(0.1)) text = text.slice(0, random.index(text.length));
      if (random.chance(0.1)) {
        const place = random.index(text.length);
        text = text.slice(0, place) + String.fromCharCode(random.index(256)) + text.slice(place + 1);
      }
      return { at: "header", text };
    },
    async run({ at, text }) {
      const directory = at === "index" ? sharded : single;
      if (at === "index") await writeFile(join(directory, INDEX_NAME), text);
      else await writeFile(join(directory, "model.safetensors"), bytes(text));
      const checkpoint = await openCheckpoint(directory);
      try {
        for (const [name, { shape, bytes: size }] of checkpoint.tensors) {
          if (![...shape, size].every((n) => Number.isSafeInteger(n) && n >= 0))
            throw new Nonsense("a tensor's size is no count");
          const read = await checkpoint.readTensor(name);
          if (read.byteLength !== size) throw new Nonsense("a tensor is read that is longer or shorter than it says");
        }
      } finally {
        await checkpoint.close();
      }
      return [];
    },
  };
}
