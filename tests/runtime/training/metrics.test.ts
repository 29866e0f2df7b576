/** Lines of metrics: read back as they were written, cut back to a checkpoint's step, nothing of others cut. */
import { appendFile, mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { type Fault, makeFaults, setFaults } from "../../../runtime/files/faults.ts";
import { openMetrics } from "../../../runtime/training/metrics-file.ts";
import { formatRecord, readHistory, type TrainingRecord } from "../../../runtime/training/record.ts";
import { expectFailure, MEMORY, withScratch } from "../checkpoint/scratch.ts";
import { evaluationOf, loadOf, runOf, stepOf } from "./records.ts";

const records: readonly TrainingRecord[] = [
  runOf(),
  ...[1, 2, 3].map((step) => stepOf(step)),
  evaluationOf(3),
  loadOf(3),
  ...[4, 5].map((step) => stepOf(step)),
];

const inScratch = (body: (path: string) => Promise<void>): Promise<void> =>
  withScratch((folder) => body(join(folder, "metrics.jsonl")), MEMORY);

function write(path: string, after: number, lines: readonly TrainingRecord[]): void {
  const file = openMetrics(path, after);
  for (const line of lines) file.write(line);
  file.close();
}

const stepsOf = async (path: string): Promise<readonly string[]> => {
  const lines = (await readFile(path, "utf8")).split("\n").slice(0, -1);
  return lines.map((line) => JSON.parse(line) as TrainingRecord).map(({ kind, step }) => `${kind} ${step}`);
};

test("what was written is read, by kind and in order", () =>
  inScratch(async (path) => {
    write(path, 0, records);
    const { runs, steps, evaluations, loads } = readHistory(path, await readFile(path, "utf8"));
    expect([...runs, ...steps.slice(0, 3), ...evaluations, ...loads, ...steps.slice(3)]).toEqual(records);
  }));

describe("a run that is resumed", () => {
  test("has the lines up to its checkpoint's step, then its own", () =>
    inScratch(async (path) => {
      write(path, 0, records);
      write(path, 3, [stepOf(4)]);
      const kept = ["run 0", "step 1", "step 2", "step 3", "evaluation 3", "load 3"];
      expect(await stepsOf(path)).toEqual([...kept, "step 4"]);
      write(path, 100, []);
      expect(await stepsOf(path)).toEqual([...kept, "step 4"]);
    }));

  test("begins anew behind the line of its beginning where there is no checkpoint", () =>
    inScratch(async (path) => {
      write(path, 0, records);
      write(path, 0, [runOf()]);
      expect(await stepsOf(path)).toEqual(["run 0", "run 0"]);
    }));

  test("does not keep a line that a kill has torn", () =>
    inScratch(async (path) => {
      write(path, 0, records);
      await appendFile(path, formatRecord(stepOf(6)).slice(0, 20));
      expect(readHistory(path, await readFile(path, "utf8")).steps).toHaveLength(5);
      write(path, 5, [stepOf(6)]);
      expect((await stepsOf(path)).slice(-2)).toEqual(["step 5", "step 6"]);
    }));

  test("cuts at the right byte of a long file with other letters", () =>
    inScratch(async (path) => {
      const many = Array.from({ length: 6000 }, (_, i) => ({ ...stepOf(i + 1), terms: { "Zähler – β": 1 } }));
      write(path, 0, many);
      write(path, 5321, []);
      expect(await readFile(path, "utf8")).toBe(many.slice(0, 5321).map(formatRecord).join(""));
    }));
});

test("whichever call fails or is the last, the next run has the lines up to its checkpoint, and its own", () =>
  inScratch(async (path) => {
    const run = async (fault: Fault, call: number): Promise<{ readonly failed: boolean; readonly calls: number }> => {
      await writeFile(path, records.map(formatRecord).join(""));
      const faults = makeFaults(fault, path, call);
      setFaults(faults);
      try {
        write(path, 4, [stepOf(5), stepOf(6)]);
        return { failed: false, calls: faults.state[0]! };
      } catch {
        return { failed: true, calls: faults.state[0]! };
      } finally {
        setFaults(null);
      }
    };
    const whole = await run("EIO", 0);
    expect([whole.failed, whole.calls > 8]).toEqual([false, true]);
    for (const fault of ["EIO", "ENOSPC", "killed"] as const)
      for (let call = 1; call <= whole.calls; call++) {
        expect((await run(fault, call)).failed).toBe(true);
        write(path, 4, [stepOf(5)]);
        expect((await stepsOf(path)).slice(-4)).toEqual(["evaluation 3", "load 3", "step 4", "step 5"]);
      }
  }));

test("a file that is somebody's is told and left as it is", () =>
  inScratch(async (path) => {
    const text = `${formatRecord(stepOf(1))}my notes\n${formatRecord(stepOf(9))}`;
    await writeFile(path, text);
    const open = async (): Promise<void> => openMetrics(path, 1).close();
    await expectFailure(open(), "train/bad-metrics", "line 2 of", '"my notes"');
    expect(await readFile(path, "utf8")).toBe(text);
    expect(() => readHistory(path, text)).toThrow("train/bad-metrics");
    expect(() => readHistory(path, '{"kind": "step", "step": 1}\n')).toThrow("line 1 of");
    expect(() => readHistory(path, '{"kind": "toString", "step": 1}\n')).toThrow("line 1 of");
    const folder = join(path, "..", "folder");
    await mkdir(folder);
    const atFolder = async (): Promise<void> => openMetrics(folder, 1).close();
    await expectFailure(atFolder(), "file/special", "is a folder");
  }));
