/** The `.moe` files that a command line names: files as they are, folders walked. */
import { join } from "node:path";
import { failure } from "../grammar/index.ts";
import { find, recode } from "../runtime/files/read.ts";
import { walkFiles } from "../runtime/files/walk.ts";

/** Folders and files to leave out when walking. */
const SKIPPED = /^(?:node_modules|\..+|dist)$/;

/** Paths in a stable order. Throws `cli/no-file` for a path that is not there, `cli/no-moe-files` for a folder without any. */
export function findMoeFiles(paths: readonly string[]): readonly string[] {
  return paths.flatMap((path) => {
    const found = recode("cli/no-file", () => find(path));
    if (found === null)
      throw failure("cli/no-file", `cannot read ${path}: there is no such file`, { help: "check the path" });
    if (!found.isDirectory()) return [path];
    const inside = recode("cli/no-file", () => walkFiles(path, (name) => SKIPPED.test(name))).filter((p) =>
      p.endsWith(".moe"),
    );
    if (inside.length === 0)
      throw failure("cli/no-moe-files", `there is no .moe file in ${path}`, {
        help: "give a file or folder of the language",
      });
    return inside.map((p) => join(path, p));
  });
}
