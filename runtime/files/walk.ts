/** What lies below a folder. Links to folders are not followed, which may lead in a circle. */
import { join } from "node:path";
import { isAbsent } from "./error.ts";
import { lstat, readNames, stat, type Stats } from "./system.ts";

export interface Walked {
  /** From the folder. */
  readonly path: string;
  /** Of a link, its own. */
  readonly stats: Stats;
}

/** Folders and all in them, in a stable order; `skips` says which names are left out, with what is below them. */
export function walkAll(folder: string, skips: (name: string) => boolean = () => false, inside = ""): Walked[] {
  return readNames(join(folder, inside))
    .filter((name) => !skips(name))
    .sort()
    .flatMap((name) => {
      const path = join(inside, name);
      const stats = lstat(join(folder, path));
      return [{ path, stats }, ...(stats.isDirectory() ? walkAll(folder, skips, path) : [])];
    });
}

/** The paths of files, and of links to files. */
export function walkFiles(folder: string, skips: (name: string) => boolean): string[] {
  return walkAll(folder, skips)
    .filter(({ path, stats }) => !stats.isDirectory() && !(stats.isSymbolicLink() && leadsToFolder(join(folder, path))))
    .map(({ path }) => path)
    .sort();
}

/** A link to nothing is a file that cannot be read, and told so by whoever reads it. */
function leadsToFolder(path: string): boolean {
  try {
    return stat(path).isDirectory();
  } catch (error) {
    if (isAbsent(error)) return false;
    throw error;
  }
}
