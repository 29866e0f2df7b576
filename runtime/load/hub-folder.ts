/**
 * A model's folder in the cache of Hugging Face's hub, `models--NAME`: what it has are snapshots, one for each commit that was
 * fetched, and `refs` say which commit a branch is at. Given in place of a snapshot, the folder stands for that of `main`.
 */
import { join } from "node:path";
import { failure } from "../../grammar/diagnostic.ts";
import { isFolder, readTextIfAny, recode } from "../files/read.ts";
import { readNames } from "../files/system.ts";

/** The snapshot that a path stands for; the path itself for everything else. Throws `checkpoint/snapshots`. */
export function resolveFolder(path: string): string {
  return recode("checkpoint/unreadable", () => {
    const snapshots = join(path, "snapshots");
    if (!isFolder(snapshots) || !isFolder(join(path, "refs"))) return path;
    const names = readNames(snapshots).sort();
    const main = readTextIfAny(join(path, "refs", "main"))?.trim();
    const chosen = names.find((name) => name === main) ?? (names.length === 1 ? names[0]! : null);
    if (chosen !== null) return join(snapshots, chosen);
    throw failure(
      "checkpoint/snapshots",
      names.length === 0
        ? `${path} is a folder of the hub's cache, and has no snapshot`
        : `${path} is a folder of the hub's cache with ${names.length} snapshots, none of which is \`main\``,
      {
        notes:
          names.length === 0
            ? []
            : [`its snapshots are ${names.slice(0, 4).join(", ")}${names.length > 4 ? ", ..." : ""}`],
        help: names.length === 0 ? "fetch the model again" : `give one of them: ${join(snapshots, names[0]!)}`,
      },
    );
  });
}
