/**
 * Every call to the file system fails once while a run writes its third step, in one way or another, or the process is killed there. The
 * steps before are whole afterwards, the new one is whole or not there, nothing else has changed, and the same again ends well.
 */
import { createHash } from "node:crypto";
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { MoeError } from "../../../grammar/diagnostic.ts";
import { type Fault, Killed, makeFaults, setFaults } from "../../../runtime/files/faults.ts";
import { loadModel } from "../../../runtime/load/load-model.ts";
import { openWorkspace } from "../../../runtime/load/modules.ts";
import { writeTrainingCheckpoint } from "../../../runtime/training/checkpoint.ts";
import { readTrainingCheckpoint } from "../../../runtime/training/resume.ts";
import { MEMORY, withScratch } from "../checkpoint/scratch.ts";
import { checkpointAt } from "./checkpoint-case.ts";

const FAULTS: readonly Fault[] = ["killed", "ENOSPC", "EIO", "EROFS", "EINTR"];
/** All faults at all calls take a quarter of an hour. */
const isThorough = process.env["MOEC_FAULTS"] === "all";
const STEP = 9;
const faultsAt = (call: number): readonly Fault[] =>
  isThorough ? FAULTS : call % STEP === 0 ? [FAULTS[(call / STEP) % FAULTS.length]!] : [];

afterEach(() => setFaults(null));

/** Hashes of what stands under a name that is not hidden, by name. */
function look(run: string): Readonly<Record<string, string>> {
  const visible = readdirSync(run).filter((name) => !name.startsWith("."));
  return Object.fromEntries(visible.map((name) => [name, hashOf(join(run, name))]));
}

function hashOf(path: string): string {
  const hash = createHash("sha256");
  if (!statSync(path).isDirectory()) return hash.update(readFileSync(path)).digest("hex");
  for (const name of readdirSync(path).sort()) hash.update(`${name} ${hashOf(join(path, name))} `);
  return hash.digest("hex");
}

const [first, second, third] = ["step-00000001", "step-00000002", "step-00000003"] as const;

test("the steps before are whole whatever happens", async () => {
  const loaded = await loadModel("tests/fixtures/families/llama_rope3");
  const workspace = openWorkspace();
  const write = (run: string, step: number): Promise<unknown> => {
    const all = checkpointAt(step, loaded);
    return writeTrainingCheckpoint(run, { ...all, states: all.states.slice(0, 2) });
  };
  await withScratch(async (scratch) => {
    const before = join(scratch, "before");
    mkdirSync(before);
    writeFileSync(join(before, "metrics.jsonl"), "precious");
    await write(before, 1);
    await write(before, 2);
    const old = look(before);
    const run = async (fault: Fault, call: number): Promise<{ folder: string; error: unknown; calls: number }> => {
      const folder = join(scratch, "run");
      rmSync(folder, { recursive: true, force: true });
      cpSync(before, folder, { recursive: true, preserveTimestamps: true });
      const faults = makeFaults(fault, folder, call);
      setFaults(faults);
      const error: unknown = await write(folder, 3).then(
        () => null,
        (cause: unknown) => cause,
      );
      setFaults(null);
      return { folder, error, calls: faults.state[0]! };
    };
    const whole = await run("EIO", 0);
    expect(whole.error).toBe(null);
    const made = look(whole.folder);
    expect(Object.keys(made).sort()).toEqual(["metrics.jsonl", second, third]);
    const known = { ...old, ...made };
    for (let call = 1; call <= whole.calls; call++) {
      for (const fault of faultsAt(call)) {
        const { folder, error } = await run(fault, call);
        const what = `${fault} at call ${call} of ${whole.calls}: ${String(error)}`;
        const after = look(folder);
        expect(known, what).toMatchObject(after);
        expect(Object.keys(after), what).toEqual(expect.arrayContaining(["metrics.jsonl", second]));
        if (!(third in after)) expect(after, what).toEqual(old);
        if (error === null) expect(after, what).toEqual(made);
        else if (fault === "killed") expect(error, what).toBeInstanceOf(Killed);
        else {
          expect(fault, what).not.toBe("EINTR");
          expect(error, what).toBeInstanceOf(MoeError);
          expect((error as MoeError).diagnostics[0], what).toMatchObject({
            help: expect.stringMatching(/\w/) as string,
          });
        }
        const stored = (await readTrainingCheckpoint(folder, workspace))!;
        expect(stored.record.step, what).toBe(third in after ? 3 : 2);
        expect(stored.changed, what).toEqual([]);
        await stored.close();
        await write(folder, 3);
        expect(look(folder), what).toEqual(made);
        expect(
          readdirSync(folder).filter((name) => name.startsWith(".")),
          what,
        ).toEqual([]);
      }
    }
    expect(whole.calls).toBeGreaterThan(100);
    expect(first in old).toBe(true);
  }, MEMORY);
  await loaded.checkpoint.close();
});

test("what a killed writer left of a step that is not made again goes with the next", async () => {
  const loaded = await loadModel("tests/fixtures/families/llama_rope3");
  await withScratch(async (run) => {
    await writeTrainingCheckpoint(run, checkpointAt(1, loaded));
    setFaults(makeFaults("killed", run, 40));
    await expect(writeTrainingCheckpoint(run, checkpointAt(2, loaded))).rejects.toBeInstanceOf(Killed);
    setFaults(null);
    expect(readdirSync(run)).toContain(".step-00000002.partial");
    await writeTrainingCheckpoint(run, checkpointAt(5, loaded));
    expect(readdirSync(run).sort()).toEqual(["step-00000001", "step-00000005"]);
  }, MEMORY);
  await loaded.checkpoint.close();
});
