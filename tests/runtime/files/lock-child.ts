/** Takes the lock of a folder at a moment, holds it for a while, and says what it came to. With `kill` it ends holding it. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { MoeError } from "../../../grammar/diagnostic.ts";
import { takeLock } from "../../../runtime/files/lock.ts";

process.on("message", ({ folder, how }: { folder: string; how: "kill" | "hold" }) => {
  try {
    const lock = takeLock(folder, "target");
    if (how === "kill") process.kill(process.pid, "SIGKILL");
    const path = join(folder, "holder");
    const before = read(path);
    writeFileSync(path, String(process.pid));
    // Long enough for others to come in between, if they can.
    const until = performance.now() + 2;
    while (performance.now() < until);
    const after = read(path);
    writeFileSync(path, "");
    lock.check();
    lock.release();
    process.send!(before === "" && after === String(process.pid) ? "held" : "shared");
  } catch (error) {
    process.send!(error instanceof MoeError ? error.diagnostics[0]!.code : String(error));
  }
});

function read(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}

process.send!("ready");
