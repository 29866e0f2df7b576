/** The files below a folder. Links to folders are not followed, which may lead in a circle. */
import { join } from "node:path";
import { lstat, readNames, stat } from "./system.ts";
import { isAbsent } from "./error.ts";

/** Paths from the folder, in a stable order; `skips` says which names are left out, with all below them. */
export function walkFiles(folder: string, skips: (name: string) => boolean, inside = ""): string[] {
  return readNames(join(folder, inside))
    .filter((name) => !skips(name))
    .flatMap((name) => {
      const path = join(inside, name);
      if (lstat(join(folder, path)).isDirectory()) return walkFiles(folder, skips, path);
      return leadsToFolder(join(folder, path)) ? [] : [path];
    })
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
