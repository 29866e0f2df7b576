/** The thread of `watchdog.ts`. Limits: where there is no /proc it counts the CPU time of the process alone, and leaves waiting to the runner's timeout. */
import { existsSync, writeSync } from "node:fs";
import { parentPort } from "node:worker_threads";
import { type Use, useOfTree, Watch } from "./watch.ts";

/** Milliseconds between looks: a look costs some itself, of which a tick must be many times as long. */
const TICK = 5000;
/** For the test of this file. */
const MOST_IDLE = Number(process.env["MOEC_MOST_IDLE"] ?? 120);

let what = "a test file";
let watch = new Watch(TICK, MOST_IDLE);
parentPort?.on("message", ({ file, test }: { readonly file: string; readonly test: string | null }) => {
  what = test === null ? file : `${file} > ${test}`;
  watch = new Watch(TICK, MOST_IDLE);
});

setInterval(() => {
  const use: Use = existsSync("/proc/self/stat") ? useOfTree(process.pid) : { seconds: cpuOfProcess(), others: null };
  const reason = watch.look(use);
  if (reason === null) return;
  // Not through the main thread, which may be blocked.
  writeSync(2, `\nended by tests/support/watchdog.ts: ${what}: ${reason}\n`);
  for (const pid of [...(use.others ?? []), process.pid]) {
    try {
      process.kill(pid, "SIGKILL");
    } catch {
      // It has ended by itself.
    }
  }
}, TICK);

function cpuOfProcess(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}
