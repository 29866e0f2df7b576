/** A lock has one holder: whoever else comes is told so, and one that was left behind goes to one heir. */
import { type ChildProcess, fork } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { Worker } from "node:worker_threads";
import { afterEach, expect, test } from "vitest";
import { makeFaults, setFaults } from "../../../runtime/files/faults.ts";
import { takeLock } from "../../../runtime/files/lock.ts";
import { describeSelf } from "../../../runtime/files/owner.ts";
import { withScratch } from "../checkpoint/scratch.ts";

/** Rounds of each; `MOEC_LOCK_ROUNDS=500` for a long run. */
const ROUNDS = Number(process.env["MOEC_LOCK_ROUNDS"] ?? 12);

const children: ChildProcess[] = [];
afterEach(() => {
  setFaults(null);
  for (const child of children.splice(0)) child.kill("SIGKILL");
});

/** What the next message of a process says; `null` when it ends without one. */
const hear = (child: ChildProcess): Promise<string | null> =>
  new Promise((done) => {
    const end = (): void => done(null);
    child.once("exit", end);
    child.once("message", (text) => {
      child.off("exit", end);
      done(String(text));
    });
  });

async function start(): Promise<ChildProcess> {
  const child = fork(join(import.meta.dirname, "lock-child.ts"));
  children.push(child);
  expect(await hear(child)).toBe("ready");
  return child;
}

async function order(child: ChildProcess, folder: string, how: "kill" | "hold"): Promise<string | null> {
  const answer = hear(child);
  child.send({ folder, how });
  return answer;
}

test.each([2, 3])("%i that come at once after a kill: one holds it, the others are told", async (count) => {
  await withScratch(async (scratch) => {
    const writers = await Promise.all(Array.from({ length: count }, start));
    for (let round = 0; round < ROUNDS; round++) {
      const folder = join(scratch, String(round));
      const victim = await start();
      expect(await order(victim, folder, "kill")).toBe(null);
      expect(existsSync(join(folder, "lock"))).toBe(true);
      const answers = await Promise.all(writers.map((writer) => order(writer, folder, "hold")));
      // One after the other is as good as at once: none may share, and at least one holds.
      expect(answers.filter((a) => a !== "held" && a !== "checkpoint/busy")).toEqual([]);
      expect(answers).toContain("held");
      expect(readdirSync(folder)).toEqual(["holder"]);
    }
  });
});

const own = describeSelf();
const plant = (folder: string, text: string): void => {
  mkdirSync(folder);
  writeFileSync(join(folder, "lock"), text);
};

test.each([
  ["of a process that is gone", { ...own, pid: 2 ** 22 + 1, nonce: "a" }, "free"],
  ["of a process whose number another has now", { ...own, pid: process.ppid, start: "1", nonce: "a" }, "free"],
  ["of this process, from before its number came again", { ...own, start: "1", nonce: "a" }, "free"],
  ["of an earlier start of the machine", { ...own, pid: process.ppid, start: "", boot: "other", nonce: "a" }, "free"],
  ["that this process never took", { ...own, nonce: "a" }, "free"],
  ["of another thread of this process", { ...own, thread: 7, nonce: "a" }, "busy"],
  ["of a process that is there", { ...own, pid: process.ppid, start: "", nonce: "a" }, "busy"],
  ["of another machine", { ...own, host: "elsewhere", pid: 2 ** 22 + 1, nonce: "a" }, "busy"],
  ["of another container", { ...own, space: "pid:[1]", pid: 2 ** 22 + 1, nonce: "a" }, "busy"],
])("a lock %s", async (_, owner, expected) => {
  await withScratch(async (scratch) => {
    const folder = join(scratch, "f");
    plant(folder, JSON.stringify(owner));
    if (expected === "busy") {
      expect(() => takeLock(folder, "target")).toThrow("checkpoint/busy");
      expect(readdirSync(folder)).toEqual(["lock"]);
    } else {
      const lock = takeLock(folder, "target");
      lock.check();
      lock.release();
      expect(readdirSync(folder)).toEqual([]);
    }
  });
});

test.each([
  ["empty", "", "busy"],
  ["cut short", '{"pid":12,"ho', "busy"],
  ["of an earlier moec, whose process is gone", `${2 ** 22 + 1} ${hostname()}`, "free"],
  ["of an earlier moec, whose process is there", `${process.ppid} ${hostname()}`, "busy"],
])("a lock that is %s", async (_, text, expected) => {
  await withScratch(async (scratch) => {
    const folder = join(scratch, "f");
    plant(folder, text);
    if (expected === "busy") expect(() => takeLock(folder, "target")).toThrow("checkpoint/busy");
    else takeLock(folder, "target").release();
  });
});

test("what nobody holds any more is not held, and what another took is told", async () => {
  await withScratch(async (scratch) => {
    const folder = join(scratch, "f");
    const first = takeLock(folder, "target");
    expect(() => takeLock(folder, "target")).toThrow("checkpoint/busy");
    writeFileSync(join(folder, "lock"), JSON.stringify({ ...own, pid: process.ppid, start: "", nonce: "b" }));
    expect(() => first.check()).toThrow("checkpoint/busy");
    first.release();
    expect(readdirSync(folder)).toEqual(["lock"]);
  });
});

test("where files have one name only, a lock is still one", async () => {
  await withScratch(async (scratch) => {
    const folder = join(scratch, "f");
    mkdirSync(folder);
    // The call that links is the only one that another can stand for.
    for (let call = 1; ; call++) {
      setFaults(makeFaults("EPERM", folder, call));
      const lock = take(folder);
      setFaults(null);
      if (lock === null) continue;
      expect(() => takeLock(folder, "target")).toThrow("checkpoint/busy");
      lock.release();
      expect(readdirSync(folder)).toEqual([]);
      break;
    }
  });
});

function take(folder: string): ReturnType<typeof takeLock> | null {
  try {
    return takeLock(folder, "target");
  } catch {
    return null;
  }
}

test("threads of one process do not hold one lock together", async () => {
  await withScratch(async (scratch) => {
    const folder = join(scratch, "f");
    const lock = takeLock(folder, "target");
    const code = `
      const { parentPort, workerData } = require("node:worker_threads");
      import(workerData.module).then(({ takeLock }) => {
        try { takeLock(workerData.folder, "target"); parentPort.postMessage("held"); }
        catch (error) { parentPort.postMessage(error.message); }
      });`;
    const module = new URL("../../../runtime/files/lock.ts", import.meta.url).href;
    const worker = new Worker(code, { eval: true, workerData: { module, folder } });
    expect(await new Promise((done) => worker.once("message", done))).toContain("checkpoint/busy");
    await worker.terminate();
    lock.release();
  });
});
