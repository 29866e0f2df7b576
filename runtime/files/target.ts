/**
 * Where output may go: a new name, an empty folder, or one that moec wrote and that may be replaced. Never a file, a link, a device, the
 * folder one is in, a source, or a folder with anything of the user's.
 */
import { dirname, resolve } from "node:path";
import { failure } from "../../grammar/diagnostic.ts";
import { isAbsent } from "./error.ts";
import { findForeign, type Foreign, type Manifest, type OutputKind } from "./manifest.ts";
import { find, kindOf } from "./read.ts";
import { lstat, readNames, realpath, type Stats } from "./system.ts";

/** A kind of folder that moec writes. */
export interface Output {
  readonly kind: OutputKind;
  /** As messages call it. */
  readonly name: string;
  /** Of the diagnostic for a place that may not be written to. */
  readonly code: "checkpoint/target-exists" | "plan/folder";
  /** What a moec that had no manifests wrote there; null when it did not. */
  readonly earlier: (folder: string) => Manifest["files"] | null;
}

/** Throws `output.code` unless `target` is free, empty, or what moec wrote and `overwrite` allows to replace. */
export function checkTarget(target: string, output: Output, overwrite: boolean): void {
  const found = lookAt(target);
  const refuse = (message: string, help: string): Error => failure(output.code, message, { help });
  if (found === null) return;
  if (found.isSymbolicLink())
    throw refuse(`\`${target}\` is a link, and is not replaced`, "give the folder that it leads to, or another name");
  if (!found.isDirectory())
    throw refuse(
      `\`${target}\` is ${kindOf(found) ?? "a file"}, and is not replaced`,
      "choose another name for the folder",
    );
  if (isWithin(process.cwd(), target))
    throw refuse(`\`${target}\` is the folder that this runs in, or above it`, "give the name of a new folder");
  if (readNames(target).length === 0) return;
  const foreign = findForeign(target, output.kind, output.earlier);
  if (foreign === null || foreign.length > 0) throw refuseForeign(target, output, foreign);
  if (overwrite) return;
  throw refuse(`\`${target}\` exists already`, "choose another name, or allow it to be replaced with `--overwrite`");
}

/** A folder that holds something of the user's; null: nothing in it is moec's. */
export function refuseForeign(target: string, { code, name }: Output, foreign: readonly Foreign[] | null): Error {
  if (foreign === null)
    return failure(code, `\`${target}\` holds other files: it is not ${name} that moec wrote, and is not replaced`, {
      help: "choose another name, or remove it yourself",
    });
  const shown = foreign.slice(0, 3).map((f) => `\`${f.name}\`${f.isChanged ? ", which was changed since" : ""}`);
  const more = foreign.length > 3 ? ` and ${foreign.length - 3} more` : "";
  return failure(code, `\`${target}\` holds what moec did not write: ${shown.join("; ")}${more}`, {
    help: "move that to another place, or choose another name",
  });
}

/** Of the name itself, where it is a link; null where there is nothing. */
export function lookAt(path: string): Stats | null {
  try {
    return lstat(path);
  } catch (error) {
    if (isAbsent(error)) return null;
    throw error;
  }
}

/**
 * Throws `checkpoint/target-is-source` when what is read lies in the output's place or above or below it, under whatever names: files
 * and folders are told by their numbers. A folder may be written beside a source that is a file.
 */
export function checkApart(target: string, sources: readonly string[]): void {
  for (const source of sources) {
    const found = find(source);
    if (found === null) continue;
    const isInside = isWithin(source, target);
    if (!isInside && !(found.isDirectory() && isWithin(target, source))) continue;
    throw failure(
      "checkpoint/target-is-source",
      `\`${target}\` ${isInside ? "is, or holds," : "lies in"} the source \`${source}\``,
      {
        help: "write to a folder beside the sources",
      },
    );
  }
}

/** Whether `path`, or the nearest above it that is there, is `folder` or below it. False where there is no such folder. */
function isWithin(path: string, folder: string): boolean {
  const wanted = find(folder);
  if (wanted === null) return false;
  const isWanted = (stats: Stats): boolean => stats.ino === wanted.ino && stats.dev === wanted.dev;
  return ancestorsOf(path).some((above) => isWanted(lstat(above)));
}

/** Of what a path leads to, with itself, without links. */
function ancestorsOf(path: string): readonly string[] {
  let real = resolve(path);
  while (find(real) === null && real !== dirname(real)) real = dirname(real);
  const all = [realpath(real)];
  for (let last = all[0]!; last !== dirname(last); all.push(last)) last = dirname(last);
  return all;
}
