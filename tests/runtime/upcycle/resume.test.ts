/** A run that was killed leaves nothing under the final name, and is continued by the next to the same bits. */
import { spawn } from "node:child_process";
import { cpSync, existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { executeTransfer } from "../../../runtime/upcycle/execute.ts";
import { expectFailure, withScratch } from "../checkpoint/scratch.ts";
import { CHECKPOINTS, withPlan } from "./support.ts";

interface End {
  readonly signal: NodeJS.Signals | null;
  readonly earlier: number | null;
  readonly resident: number;
}

/** Runs `child.ts`; `after`: kills it after so many milliseconds. */
async function runChild(args: readonly string[], after?: number): Promise<End> {
  const child = spawn(process.execPath, [join(import.meta.dirname, "child.ts"), ...args], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  let text = "";
  child.stdout.on("data", (part) => (text += String(part)));
  const ended = new Promise<NodeJS.Signals | null>((done) => child.on("close", (_, signal) => done(signal)));
  if (after !== undefined) void sleep(after).then(() => child.kill("SIGKILL"));
  const signal = await ended;
  return { signal, ...(text === "" ? { earlier: null, resident: 0 } : (JSON.parse(text) as Omit<End, "signal">)) };
}

const readFolder = (folder: string): ReadonlyMap<string, Buffer> =>
  new Map(readdirSync(folder).map((name) => [name, readFileSync(join(folder, name))]));

test("twenty kills later the files are those of one run, and a run stays small", async () => {
  await withScratch(async (scratch) => {
    const [whole, killed] = [join(scratch, "whole"), join(scratch, "killed")];
    const begun = performance.now();
    const { resident } = await runChild([whole, "0"]);
    const took = performance.now() - begun;
    expect(resident).toBeLessThan(320 << 20);
    // Small units, so that there are many moments; a plain generator chooses among them.
    const budget = "4000000";
    let state = 7;
    const random = (): number => (state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff) / 0x7fffffff;
    for (let i = 0; i < 20; i++) {
      const timed = i % 3 === 2;
      const units = timed ? "0" : String(1 + Math.floor(8 * random()));
      const { signal } = await runChild([killed, units, budget], timed ? took * random() : undefined);
      // It was faster than the kill, or was killed when all was done: whatever has the final name is whole, as seen below.
      if (signal === null || existsSync(killed)) break;
    }
    if (!existsSync(killed)) expect((await runChild([killed, "0", budget])).earlier).toBeGreaterThan(0);
    expect(readdirSync(scratch).sort()).toEqual(["killed", "whole"]);
    expect(readFolder(killed)).toEqual(readFolder(whole));
  });
});

/** Copies of the example checkpoints, whose files a test may spoil. */
function copySources(scratch: string): readonly string[] {
  return CHECKPOINTS.map((from, i) => {
    const folder = join(scratch, `source${i}`);
    cpSync(from, folder, { recursive: true });
    return folder;
  });
}

test("other sources, rules or options start over, and say so", async () => {
  await withScratch(async (scratch) => {
    const [out, plain] = [join(scratch, "out"), join(scratch, "plain")];
    const sources = copySources(scratch);
    const kill = (): Promise<End> => runChild([out, "20", "4000000", sources.join(",")]);
    const earlier: (readonly [number, boolean])[] = [];
    const run = (request: { readonly dtype: "f32" | "bf16" }): Promise<void> =>
      withPlan("btx", sources, request, (plan) =>
        executeTransfer(plan, out, { overwrite: true, onEarlierRun: (...all) => earlier.push(all) }),
      );
    expect((await kill()).signal).toBe("SIGKILL");
    await run({ dtype: "bf16" });
    expect(earlier).toEqual([[0, false]]);
    await withPlan("btx", sources, { dtype: "bf16" }, (plan) => executeTransfer(plan, plain));
    expect(readFolder(out)).toEqual(readFolder(plain));
  });
});

test("a process that still writes is not disturbed", async () => {
  await withScratch(async (scratch) => {
    const out = join(scratch, "out");
    await withPlan("average", CHECKPOINTS, {}, async (plan) => {
      const first = executeTransfer(plan, out);
      await expectFailure(executeTransfer(plan, out), "checkpoint/busy", ".out.partial");
      await first;
    });
    expect(readdirSync(scratch)).toEqual(["out"]);
  });
});
