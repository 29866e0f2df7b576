/** Engines of others, in `bench/node_modules`: not part of `npm ci`, and none of their install scripts is run. */
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** Installs all of them unless `probe`, the one that is asked for, is there. About half a gigabyte. */
export function installPeers(probe: string): void {
  const folder = fileURLToPath(new URL(".", import.meta.url));
  if (existsSync(join(folder, "node_modules", probe))) return;
  console.log("installing the other engines into bench/node_modules");
  const { status } = spawnSync("npm", ["install", "--silent"], {
    cwd: folder,
    stdio: "inherit",
    shell: process.platform === "win32",
  });
  if (status !== 0) console.log("that failed: only what needs no installation is measured");
}
