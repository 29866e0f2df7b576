/** The files that a source's paths name, in an order that is the same everywhere. */
import { basename, join, matchesGlob } from "node:path";
import { failure } from "../../../grammar/diagnostic.ts";
import { find, recode } from "../../files/read.ts";
import { walkFiles } from "../../files/walk.ts";
import type { DataSource } from "./source.ts";

/** Left out of folders: hidden ones, and what others wrote. */
const SKIPPED = /^(?:node_modules|\..+)$/;

/** Throws `train/no-data`, `checkpoint/unreadable`. */
export function findFiles({ name, paths }: DataSource): readonly string[] {
  const files = recode("checkpoint/unreadable", () => paths.flatMap((path) => filesOf(path)));
  const unique = [...new Set(files)];
  if (unique.length > 0) return unique;
  throw failure("train/no-data", `\`${name}\` has no files: nothing is at ${paths.map((p) => `\`${p}\``).join(", ")}`, {
    help: 'check the path; a pattern such as "src/**/*.py" stands in quotes, so that the shell leaves it alone',
  });
}

function filesOf(path: string): readonly string[] {
  const found = find(path);
  if (found !== null) return found.isDirectory() ? walk(path) : [path];
  const folder = folderOf(path);
  const at = find(folder === "" ? "." : folder);
  if (!hasPattern(path) || at?.isDirectory() !== true) return [];
  return walk(folder).filter((file) => matchesGlob(file, path));
}

/** A folder's files, hidden ones left out. */
function walk(folder: string): readonly string[] {
  return walkFiles(folder === "" ? "." : folder, (name) => SKIPPED.test(basename(name))).map((inside) =>
    folder === "" ? inside : join(folder, inside),
  );
}

const hasPattern = (path: string): boolean => /[*?[{]/.test(path);

/** The part of a pattern before its first wildcard. */
function folderOf(pattern: string): string {
  const parts = pattern.split("/");
  const first = parts.findIndex(hasPattern);
  const front = parts.slice(0, first).join("/");
  return front === "" && pattern.startsWith("/") ? "/" : front;
}
