/** Which moec this is, from package.json: beside the sources, or one up from the built package. */
import { existsSync, readFileSync } from "node:fs";

export const VERSION = readVersion();

function readVersion(): string {
  const path = ["../package.json", "../../package.json"]
    .map((p) => new URL(p, import.meta.url))
    .find((p) => existsSync(p));
  return path === undefined ? "unknown" : (JSON.parse(readFileSync(path, "utf8")) as { version: string }).version;
}
