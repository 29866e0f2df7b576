/** Which tensor goes into which file, and where: decided before a byte is written, with the names Hugging Face uses. */
import { dataTypes } from "../checkpoint/data-type.ts";
import { byteSize, encodeHeader, type TensorSpec } from "../checkpoint/safetensors-header.ts";

export interface Shard {
  readonly name: string;
  readonly header: Uint8Array;
  /** Bytes of header and data. */
  readonly bytes: number;
  /** Position in the file of each of its tensors. */
  readonly positions: ReadonlyMap<string, number>;
}

/**
 * Fills one file after the other, in the order given; a tensor above `maxShardBytes` gets a file of its own. Within a file
 * wide dtypes come first, as the safetensors library has it, so that every tensor is aligned to its own width.
 */
export function layOutShards(
  tensors: readonly TensorSpec[],
  maxShardBytes: number,
  metadata: Readonly<Record<string, string>>,
): readonly Shard[] {
  const groups: TensorSpec[][] = [];
  let room = -1;
  for (const tensor of tensors) {
    const bytes = byteSize(tensor);
    if (bytes > room) {
      groups.push([]);
      room = maxShardBytes;
    }
    groups[groups.length - 1]!.push(tensor);
    room -= bytes;
  }
  if (groups.length === 0) groups.push([]);
  return groups.map((group, index) => layOutFile(nameShard(index, groups.length), group, metadata));
}

/** The text of the index that goes with several shards, in the form transformers gives it. */
export function formatIndex(shards: readonly Shard[], totalBytes: number): string {
  const places = shards.flatMap((shard) => [...shard.positions.keys()].map((tensor) => [tensor, shard.name] as const));
  places.sort(([a], [b]) => (a < b ? -1 : 1));
  const index = { metadata: { total_size: totalBytes }, weight_map: Object.fromEntries(places) };
  return `${JSON.stringify(index, null, 2)}\n`;
}

function nameShard(index: number, count: number): string {
  if (count === 1) return "model.safetensors";
  const pad = (n: number): string => String(n).padStart(5, "0");
  return `model-${pad(index + 1)}-of-${pad(count)}.safetensors`;
}

/** One file of these tensors. Among those of others they are told by `inside` and their name. */
export function layOutFile(
  name: string,
  group: readonly TensorSpec[],
  metadata: Readonly<Record<string, string>>,
  inside = "",
): Shard {
  const ordered = [...group].sort((a, b) => dataTypes[b.dtype].width - dataTypes[a.dtype].width);
  const header = encodeHeader(ordered, metadata);
  const positions = new Map<string, number>();
  let bytes = header.byteLength;
  for (const tensor of ordered) {
    positions.set(inside + tensor.name, bytes);
    bytes += byteSize(tensor);
  }
  return { name, header, bytes, positions };
}
