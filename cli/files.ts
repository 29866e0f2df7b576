/** The `.moe` files that a command line names: files as they are, folders walked. */
import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { failure } from "../grammar/index.ts";

/** Folders to leave out when walking. */
const SKIPPED = /(?:^|[\\/])(?:node_modules|\.[^\\/]+|dist)(?:[\\/]|$)/;

/** Paths in a stable order. Throws `cli/no-file` for a path that is not there, `cli/no-moe-files` for a folder without any. */
export function findMoeFiles(paths: readonly string[]): readonly string[] {
  return paths.flatMap((path) => {
    const found = statSync(path, { throwIfNoEntry: false });
    if (found === undefined)
      throw failure("cli/no-file", `cannot read ${path}: there is no such file`, { help: "check the path" });
    if (!found.isDirectory()) return [path];
    const inside = readdirSync(path, { recursive: true, encoding: "utf8" }).filter(
      (p) => p.endsWith(".moe") && !SKIPPED.test(p),
    );
    if (inside.length === 0)
      throw failure("cli/no-moe-files", `there is no .moe file in ${path}`, {
        help: "give a file or folder of the language",
      });
    return inside.sort().map((p) => join(path, p));
  });
}
