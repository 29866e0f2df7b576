/**
 * One hash of everything that decides the bytes of a transfer: rules as they were expanded, layout, types, settings, and the
 * source files (path, size, time of the last write, header). Budgets and the order of work do not count.
 */
import { createHash } from "node:crypto";
import { resolve } from "node:path";
import type { Assignment, TensorEntry } from "../../compiler/index.ts";
import type { ElementType } from "../checkpoint/element-type.ts";
import type { Checkpoint } from "../checkpoint/store.ts";
import { VERSION } from "../version.ts";

export interface Fingerprinted {
  readonly entries: readonly TensorEntry[];
  readonly dtype: (entry: TensorEntry) => ElementType;
  readonly assignments: readonly Assignment[];
  readonly checkpoints: readonly Checkpoint[];
  readonly config: string;
  readonly metadata: Readonly<Record<string, string>>;
}

export function fingerprintOf(all: Fingerprinted): string {
  const { entries, dtype, assignments, checkpoints, config, metadata } = all;
  const hash = createHash("sha256");
  const add = (value: unknown): void => void hash.update(JSON.stringify(value, replace));
  add([VERSION, config, metadata]);
  for (const { files } of checkpoints)
    for (const { path, bytes, modified, header } of files) add([resolve(path), bytes, `${modified}`, header]);
  for (const entry of entries) add([entry, dtype(entry)]);
  for (const assignment of assignments) add(assignment);
  return hash.digest("hex");
}

/** Many terms share one array of picks. */
const known = new WeakMap<Int32Array, string>();

/** Where a rule is written does not matter; long arrays are told by their hash. */
function replace(key: string, value: unknown): unknown {
  if (key === "rule" || key === "span") return undefined;
  if (!(value instanceof Int32Array)) return value;
  const found = known.get(value) ?? createHash("sha256").update(value).digest("hex");
  known.set(value, found);
  return found;
}
