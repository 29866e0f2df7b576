/**
 * What moec wrote into a folder, in a file of the folder: sizes and hashes. From that it knows its own: what is not listed, or is not as
 * it was written, is somebody's, and neither replaced nor removed. Weights are hashed tensor by tensor while they are written, so a file of
 * weights has the hash of its header and of the hashes of its tensors. That is only counted again when the file was
 * touched after the manifest was written.
 */
import { createHash } from "node:crypto";
import { join } from "node:path";
import { FileError, isAbsent } from "./error.ts";
import { decodeText, openToRead, readBytesIfAny } from "./read.ts";
import { lstat, type Stats } from "./system.ts";
import { walkAll } from "./walk.ts";

export const MANIFEST_NAME = "moec.manifest.json";
const FORMAT = "moec.manifest/1";

export type OutputKind = "checkpoint" | "plan";

/** A file's size and hash; for one of parts, where they end: the hash is that of the hashes of its parts. */
export interface FileRecord {
  readonly bytes: number;
  /** Null where only the size is known. */
  readonly sha256: string | null;
  readonly ends?: readonly number[];
}

export interface Manifest {
  readonly kind: OutputKind;
  /** By path from the folder, with `/`. */
  readonly files: Readonly<Record<string, FileRecord>>;
}

export function recordBytes(content: string | Uint8Array): FileRecord {
  const bytes = typeof content === "string" ? new TextEncoder().encode(content) : content;
  return { bytes: bytes.byteLength, sha256: hash(bytes) };
}

/** `parts`: where each ends, and its hash. */
export function recordParts(parts: readonly { readonly end: number; readonly sha256: string }[]): FileRecord {
  const ends = parts.map(({ end }) => end);
  return { bytes: ends.at(-1) ?? 0, sha256: hash(parts.map(({ sha256 }) => sha256).join("")), ends };
}

const hash = (content: string | Uint8Array): string => createHash("sha256").update(content).digest("hex");

export function formatManifest({ kind, files }: Manifest): string {
  const sorted = Object.entries(files).sort(([a], [b]) => (a < b ? -1 : 1));
  const lines = sorted.map(([name, record]) => `    ${JSON.stringify(name)}: ${JSON.stringify(record)}`);
  return `{\n  "format": "${FORMAT}",\n  "kind": "${kind}",\n  "files": {\n${lines.join(",\n")}\n  }\n}\n`;
}

/** What lies in a folder that is not moec's: names, and whether each was moec's once. */
export interface Foreign {
  readonly name: string;
  readonly isChanged: boolean;
}

/**
 * Everything in a folder that moec did not write there as it is; null when moec wrote nothing of this kind there. `earlier` says
 * what a moec that had no manifests would have written.
 */
export function findForeign(
  folder: string,
  kind: OutputKind,
  earlier: (folder: string) => Manifest["files"] | null,
): readonly Foreign[] | null {
  const manifest = readManifest(folder);
  if (manifest !== null && manifest.kind !== kind) return null;
  const known = manifest?.files ?? earlier(folder);
  if (known === null) return null;
  const written = manifest === null ? null : lstat(join(folder, MANIFEST_NAME)).mtimeNs;
  return walkAll(folder).flatMap(({ path, stats }): Foreign[] => {
    const name = path.replaceAll("\\", "/");
    const record = Object.hasOwn(known, name) ? known[name] : undefined;
    const isFolderOfOurs = stats.isDirectory() && Object.keys(known).some((k) => k.startsWith(`${name}/`));
    if (isFolderOfOurs || (manifest !== null && name === MANIFEST_NAME)) return [];
    if (record === undefined || !stats.isFile()) return [{ name, isChanged: false }];
    return isAsWritten(join(folder, path), stats, record, written) ? [] : [{ name, isChanged: true }];
  });
}

/** The names of moec's files in a folder, its manifest last: without that, the rest is nobody's. */
export function listOurs(folder: string, earlier: (folder: string) => Manifest["files"] | null): readonly string[] {
  const manifest = readManifest(folder);
  const names = Object.keys(manifest?.files ?? earlier(folder) ?? {});
  return manifest === null ? names : [...names, MANIFEST_NAME];
}

/** Null where there is none, or what has its name is no manifest. */
function readManifest(folder: string): Manifest | null {
  const path = join(folder, MANIFEST_NAME);
  const bytes = readBytesIfAny(path, 1 << 28);
  if (bytes === null) return null;
  try {
    const json = JSON.parse(decodeText(path, bytes)) as Partial<Record<"format" | "kind" | "files", unknown>> | null;
    if (json?.format !== FORMAT || typeof json.files !== "object" || json.files === null) return null;
    return Object.entries(json.files).every(isEntry) ? (json as unknown as Manifest) : null;
  } catch (error) {
    if (error instanceof FileError) throw error;
    return null;
  }
}

/** A manifest may be anybody's: it names nothing outside of its folder. */
function isEntry([name, record]: readonly [string, Partial<Record<keyof FileRecord, unknown>> | null]): boolean {
  const isBelow = !name.includes("\\") && name.split("/").every((part) => !/^\.{0,2}$/.test(part));
  const isSize = (size: unknown): boolean => Number.isSafeInteger(size) && (size as number) >= 0;
  const { bytes, sha256, ends } = record ?? {};
  const isParts = ends === undefined || (Array.isArray(ends) && ends.every(isSize) && ends.at(-1) === bytes);
  return isBelow && isSize(bytes) && isParts && /^[0-9a-f]{64}$/.test(String(sha256));
}

function isAsWritten(path: string, stats: Stats, record: FileRecord, written: bigint | null): boolean {
  const { bytes, sha256, ends } = record;
  if (stats.size !== BigInt(bytes)) return false;
  if (sha256 === null || (ends !== undefined && written !== null && stats.ctimeNs <= written)) return true;
  try {
    const hashes = hashParts(path, ends ?? [bytes]);
    return sha256 === (ends === undefined ? hashes.join("") : hash(hashes.join("")));
  } catch (error) {
    if (isAbsent(error)) return false;
    throw error;
  }
}

const PIECE_BYTES = 1 << 20;

function hashParts(path: string, ends: readonly number[]): readonly string[] {
  const file = openToRead(path);
  try {
    const piece = new Uint8Array(PIECE_BYTES);
    let at = 0;
    return ends.map((end) => {
      const sum = createHash("sha256");
      while (at < end) {
        const got = file.readNow(piece.subarray(0, end - at), at);
        if (got === 0) return "";
        sum.update(piece.subarray(0, got));
        at += got;
      }
      return sum.digest("hex");
    });
  } finally {
    file.close();
  }
}
