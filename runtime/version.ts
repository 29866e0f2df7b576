/** Which moec this is, from package.json: beside the sources, or one up from the built package. */
import { fileURLToPath } from "node:url";
import { readTextIfAny } from "./files/read.ts";

export const VERSION = readVersion();

function readVersion(): string {
  const [text] = ["../package.json", "../../package.json"].flatMap(
    (path) => readTextIfAny(fileURLToPath(new URL(path, import.meta.url))) ?? [],
  );
  return text === undefined ? "unknown" : (JSON.parse(text) as { version: string }).version;
}
