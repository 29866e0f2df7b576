/**
 * Output in the making. It is built in one hidden folder beside its final place, on the same disk: `files/` is what will be renamed,
 * `lock` who works on it, `moec.partial` says that the folder is moec's, and `replaced/` holds what had the final name while the new
 * one takes it. A rename shows all of it at once. A folder cannot take the name of a full one in one step: a kill between the two leaves
 * nothing under that name, and the next run first puts back what was there.
 */
import { basename, dirname, join } from "node:path";
import { failure } from "../../grammar/diagnostic.ts";
import { removeIfAny, tryTo } from "./create.ts";
import { flushFolder, makeFolders, removeTree } from "./disk.ts";
import { FileError } from "./error.ts";
import { takeLock } from "./lock.ts";
import { findForeign, listOurs } from "./manifest.ts";
import * as system from "./system.ts";
import { checkTarget, lookAt, type Output, refuseForeign } from "./target.ts";

export interface Staging {
  /** The folder that becomes the result; not there unless an earlier run left it. */
  readonly directory: string;
  /** For whoever wants the next run to go on. */
  readonly journal: string;
  /** Gives it its final name. Throws `checkpoint/busy` when another took this place over, and what `checkTarget` throws. */
  publish(): void;
  /** Removes everything. */
  remove(): void;
  /** Leaves everything to a later run. */
  leave(): void;
}

export function partialFolder(target: string): string {
  return join(dirname(target), `.${basename(target)}.partial`);
}

/** Throws what `checkTarget` throws, and `checkpoint/busy` while another process writes to the same target. */
export function openStaging(target: string, output: Output, overwrite: boolean): Staging {
  checkTarget(target, output, overwrite);
  const folder = partialFolder(target);
  checkPlace(folder, output);
  makeFolders(dirname(target));
  const lock = takeLock(folder, target);
  const [directory, journal, mark, replaced] = ["files", "journal", MARK, "replaced"].map((name) =>
    join(folder, name),
  ) as [string, string, string, string];
  const remove = (): void => {
    try {
      // Another's work is not ours to remove.
      lock.check();
      // First what says that the rest can be gone on with.
      removeIfAny(journal);
      removeTree(directory);
      if (lookAt(replaced) === null) removeIfAny(mark);
    } finally {
      lock.release();
    }
    removeIfEmpty(folder);
  };
  try {
    checkPlace(folder, output);
    if (lookAt(mark) === null) writeOver(mark, "moec\n");
    recover(target, replaced, output);
    checkTarget(target, output, overwrite);
  } catch (error) {
    const isUnused = (): boolean => [directory, journal, replaced].every((path) => lookAt(path) === null);
    tryTo(() => isUnused() && removeIfAny(mark));
    tryTo(() => lock.release());
    tryTo(() => removeIfEmpty(folder));
    throw error;
  }
  return {
    directory,
    journal,
    publish() {
      lock.check();
      checkTarget(target, output, overwrite);
      swap(directory, target, replaced, output);
      flushFolder(dirname(target));
      removeOurs(replaced, output);
    },
    remove,
    leave: () => lock.release(),
  };
}

/**
 * Removes what moec wrote under a name: all of it has the name, or nothing has, whatever happens. Throws what `checkTarget` throws where
 * there is anything else in it, or anything that was changed, and leaves it then.
 */
export function removeOutput(target: string, output: Output): void {
  const staging = openStaging(target, output, true);
  try {
    if (lookAt(target) !== null) {
      removeTree(staging.directory);
      // Nobody takes it back from there.
      moveAside(target, staging.directory, output);
      flushFolder(dirname(target));
    }
  } catch (error) {
    tryTo(staging.leave);
    throw error;
  }
  staging.remove();
}

const MARK = "moec.partial";

/** A folder of the user's may have this name: then it has no mark, or holds something else. */
function checkPlace(folder: string, { code }: Output): void {
  const found = lookAt(folder);
  if (found === null) return;
  const names = found.isDirectory() ? system.readNames(folder) : null;
  const isOurs =
    names?.every((name) => /^(files|journal|replaced|moec\.partial|(lock|claim)(\.\w+)?)$/.test(name)) === true &&
    (names.includes(MARK) ||
      names.includes("journal") ||
      !names.some((name) => name === "files" || name === "replaced"));
  if (isOurs) return;
  throw failure(code, `\`${folder}\` is where this output is made, and it holds something else`, {
    help: "move it to another place, or choose another name for the output",
  });
}

/** After a kill amid a replacement. */
function recover(target: string, replaced: string, output: Output): void {
  if (lookAt(replaced) === null) return;
  if (lookAt(target) === null) system.rename(replaced, target);
  else removeOurs(replaced, output);
}

function swap(directory: string, target: string, replaced: string, output: Output): void {
  const found = lookAt(target);
  const isEmpty = found !== null && system.readNames(target).length === 0;
  if (isEmpty) system.removeFolder(target);
  else if (found !== null) moveAside(target, replaced, output);
  try {
    system.rename(directory, target);
  } catch (error) {
    if (found !== null && !isEmpty) system.rename(replaced, target);
    if (!(error instanceof FileError) || !TAKEN.has(error.code)) throw error;
    throw failure(output.code, `\`${target}\` came into being while it was written`, { help: "choose another name" });
  }
}

const TAKEN = new Set(["EEXIST", "ENOTEMPTY", "ENOTDIR"]);

/** Files that came into it since it was looked at go back with it. */
function moveAside(target: string, replaced: string, output: Output): void {
  system.rename(target, replaced);
  let foreign: ReturnType<typeof findForeign> = null;
  try {
    foreign = findForeign(replaced, output.kind, output.earlier);
  } catch (error) {
    system.rename(replaced, target);
    throw error;
  }
  if (foreign?.length === 0) return;
  system.rename(replaced, target);
  throw refuseForeign(target, output, foreign);
}

/** What else is in the folder stays, and the folder with it. */
function removeOurs(folder: string, { earlier }: Output): void {
  if (lookAt(folder) === null) return;
  const names = listOurs(folder, earlier);
  for (const name of names) removeIfAny(join(folder, name));
  const below = new Set(names.map(dirname).filter((name) => name !== "."));
  for (const name of [...below].sort((a, b) => b.length - a.length)) removeIfEmpty(join(folder, name));
  removeIfEmpty(folder);
}

/** Another run may be at work in it, or have removed it. */
function removeIfEmpty(folder: string): void {
  try {
    system.removeFolder(folder);
  } catch (error) {
    if (!(error instanceof FileError) || !["ENOENT", "ENOTEMPTY", "EEXIST"].includes(error.code)) throw error;
  }
}

/** A small file of ours, and flushed to the disk. An earlier run may have begun it. */
export function writeOver(path: string, content: string | Uint8Array): void {
  const { O_CREAT, O_WRONLY } = system;
  const file = system.openFile(path, O_CREAT | O_WRONLY);
  try {
    file.setSize(0);
    file.write(typeof content === "string" ? new TextEncoder().encode(content) : content, 0);
    file.flushNow();
  } finally {
    file.close();
  }
}
