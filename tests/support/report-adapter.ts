/** Says once, before the tests, which adapter they run on. */
import { spawnSync } from "node:child_process";

export function setup(): void {
  const { stdout, status } = spawnSync(process.execPath, ["scripts/probe-adapter.mjs"], { encoding: "utf8" });
  const adapter =
    status === 0 ? (JSON.parse(stdout.trim().split("\n").at(-1) ?? "null") as { description: string } | null) : null;
  console.log(`adapter: ${adapter?.description ?? "none; tests that need a GPU are skipped"}`);
}
