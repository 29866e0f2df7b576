/**
 * Every call to the file system is made to fail once, in every way, while something is written. Afterwards the place that it goes
 * to holds what it held, the new, or nothing; nothing else has changed; the error names a file, a reason and a way out; and the same
 * again without the fault ends well.
 */
import { createHash } from "node:crypto";
import {
  chmodSync,
  cpSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import type { Plan } from "../../../compiler/plan/plan.ts";
import { MoeError } from "../../../grammar/diagnostic.ts";
import type { TensorSpec } from "../../../runtime/checkpoint/safetensors-header.ts";
import { createCheckpoint } from "../../../runtime/save/write.ts";
import { openSink } from "../../../runtime/save/sink.ts";
import { type Fault, Killed, makeFaults, setFaults } from "../../../runtime/files/faults.ts";
import { replaceFile } from "../../../runtime/files/replace.ts";
import { openFile, O_CREAT, O_WRONLY } from "../../../runtime/files/system.ts";
import { openData } from "../../../runtime/training/corpus/open-data.ts";
import { openMetrics } from "../../../runtime/training/metrics-file.ts";
import { formatRecord, type LoadRecord } from "../../../runtime/training/record.ts";
import { savePlan } from "../../../runtime/save/save-plan.ts";
import { moec } from "../../cli/support.ts";
import { MEMORY, withScratch } from "../checkpoint/scratch.ts";
import { tinyPlan } from "../../support/tiny-plan.ts";
import { softwareFacts } from "../../support/facts.ts";

const FAULTS: readonly Fault[] = ["ENOSPC", "EIO", "EROFS", "EINTR", "killed"];

/** All faults at all calls, of commands too: takes an hour. */
const isThorough = process.env["MOEC_FAULTS"] === "all";

/** One fault at every call, another at the next; or at some calls. */
const inTurn =
  (step = 1) =>
  (call: number): readonly Fault[] =>
    isThorough ? FAULTS : call % step === 0 ? [FAULTS[(call / step) % FAULTS.length]!] : [];

afterEach(() => setFaults(null));

/** Everything below a folder but what is hidden: kinds, modes, contents. */
function look(folder: string): ReadonlyMap<string, string> {
  const entries = readdirSync(folder, { recursive: true, encoding: "utf8" }).filter((path) => !/(^|\/)\./.test(path));
  return new Map(
    entries.sort().map((path) => {
      const stats = lstatSync(join(folder, path));
      const content = stats.isFile()
        ? createHash("sha256")
            .update(readFileSync(join(folder, path)))
            .digest("hex")
        : stats.isSymbolicLink()
          ? readlinkSync(join(folder, path))
          : "";
      return [path, `${stats.mode.toString(8)} ${content}`];
    }),
  );
}

interface Case {
  /** What is there before. */
  readonly prepare: (folder: string) => Promise<void> | void;
  readonly write: (folder: string) => Promise<unknown> | unknown;
  /** The name of what is written, in the folder. */
  readonly target: string;
  /** Which, at a call. */
  readonly faults?: (call: number) => readonly Fault[];
}

async function sweep({ prepare, write, target, faults = () => FAULTS }: Case): Promise<number> {
  return withScratch(async (scratch) => {
    const before = join(scratch, "before");
    mkdirSync(before);
    writeFileSync(join(before, "thesis.tex"), "precious");
    await prepare(before);
    const run = async (fault: Fault, call: number): Promise<{ folder: string; error: unknown; calls: number }> => {
      const folder = join(scratch, "work");
      rmSync(folder, { recursive: true, force: true });
      cpSync(before, folder, { recursive: true, preserveTimestamps: true });
      const state = makeFaults(fault, folder, call);
      setFaults(state);
      let error: unknown = null;
      try {
        await write(folder);
      } catch (cause) {
        error = cause;
      } finally {
        setFaults(null);
      }
      return { folder, error, calls: state.state[0]! };
    };
    const only = (all: ReadonlyMap<string, string>): unknown =>
      [...all].filter(([p]) => p === target || p.startsWith(`${target}/`));
    const others = (all: ReadonlyMap<string, string>): unknown =>
      [...all].filter(([p]) => p !== target && !p.startsWith(`${target}/`));
    const old = look(before);
    const whole = await run("EIO", 0);
    expect(whole.error).toBe(null);
    const made = look(whole.folder);
    expect(others(made)).toEqual(others(old));
    expect(readdirSync(whole.folder).filter((name) => name.startsWith("."))).toEqual([]);
    for (let call = 1; call <= whole.calls; call++) {
      for (const fault of faults(call)) {
        const { folder, error } = await run(fault, call);
        const what = `${fault} at call ${call} of ${whole.calls}: ${String(error)}`;
        const after = look(folder);
        expect(others(after), what).toEqual(others(old));
        if (fault === "EINTR") {
          expect(error, what).toBe(null);
          expect(only(after), what).toEqual(only(made));
          continue;
        }
        expect([only(old), only(made), []], what).toContainEqual(only(after));
        if (fault === "killed") expect(error, what).toBeInstanceOf(Killed);
        else if (error === null) expect(only(after), what).toEqual(only(made));
        else {
          expect(error, what).toBeInstanceOf(MoeError);
          const { diagnostics } = error as MoeError;
          expect(diagnostics, what).toHaveLength(1);
          expect(diagnostics[0]!.message, what).toContain(folder);
          expect(diagnostics[0]!.message, what).toMatch(/disk/);
          expect(diagnostics[0]!.help, what).toMatch(/\w/);
        }
        await write(folder);
        expect(only(look(folder)), what).toEqual(only(made));
        expect(others(look(folder)), what).toEqual(others(old));
        expect(readdirSync(folder), what).not.toContain(`.${target}.partial`);
      }
    }
    return whole.calls;
  }, MEMORY);
}

const tensors: TensorSpec[] = [
  { name: "a", dtype: "U8", shape: [6] },
  { name: "b", dtype: "F32", shape: [2] },
];

async function writeCheckpoint(target: string, first: number, fingerprint?: string): Promise<void> {
  const writer = await createCheckpoint(target, tensors, {
    overwrite: true,
    maxShardBytes: 8,
    ...(fingerprint === undefined ? {} : { fingerprint }),
  });
  try {
    for (const { name, bytes } of [
      { name: "a", bytes: 6 },
      { name: "b", bytes: 8 },
    ]) {
      if (writer.done.has(name)) continue;
      await writer.write(name, new Uint8Array(bytes).fill(first));
      await writer.finish(name);
    }
    await writer.addFile("config.json", `{"first":${first}}`);
    await writer.commit();
  } catch (error) {
    await writer.leave().catch(() => undefined);
    throw error;
  }
}

test.each([
  ["for the first time", () => undefined, () => FAULTS],
  ["in the place of an older one", (folder: string) => writeCheckpoint(join(folder, "out"), 7), inTurn()],
] as const)("a checkpoint written %s", async (_, prepare, faults) => {
  const calls = await sweep({
    prepare,
    faults,
    target: "out",
    write: (folder) => writeCheckpoint(join(folder, "out"), 1, "f"),
  });
  expect(calls).toBeGreaterThan(50);
});

const SOURCE = "tests/fixtures/families/llama_rope3";

const plan = tinyPlan(softwareFacts);
const older = { ...plan, model: "Older" } as Plan;

test("a plan in the place of an older one", async () => {
  const calls = await sweep({
    prepare: (folder) => savePlan(older, join(folder, "out")),
    target: "out",
    faults: inTurn(3),
    write: (folder) => savePlan(plan, join(folder, "out")),
  });
  expect(calls).toBeGreaterThan(40);
});

test("a file in the place of an older one, with its mode", async () => {
  const calls = await sweep({
    prepare(folder) {
      writeFileSync(join(folder, "a"), "old");
      chmodSync(join(folder, "a"), 0o640);
    },
    target: "a",
    write: (folder) => replaceFile(join(folder, "a"), ["new ", new Uint8Array([49])]),
  });
  expect(calls).toBeGreaterThan(8);
});

test("a tokenised text", async () => {
  const calls = await sweep({
    prepare(folder) {
      writeFileSync(join(folder, "a.txt"), "one\u001etwo");
      mkdirSync(join(folder, "tokens"));
    },
    target: "tokens",
    faults: inTurn(2),
    write: async (folder) => {
      const paths = [join(folder, "a.txt")];
      const data = await openData({
        sources: [{ name: "a", kind: "text", paths, weight: null, field: "text", fim: null }],
        tokenizer: "examples/checkpoints/seed",
        vocabulary: 2048,
        cache: join(folder, "tokens"),
        context: 2,
        sequences: 1,
        micros: 1,
        seed: 1,
      });
      data.close();
    },
  });
  expect(calls).toBeGreaterThan(30);
});

test("lines of metrics, behind those of an earlier run", async () => {
  const line = (step: number): LoadRecord => ({ kind: "load", step, layers: [] });
  const calls = await sweep({
    prepare: (folder) =>
      writeFileSync(join(folder, "m.jsonl"), [1, 2, 3].map((step) => formatRecord(line(step))).join("")),
    target: "m.jsonl",
    // A line that is torn, or cut, is neither the old file nor the new; the next run mends it.
    faults: () => ["EINTR"],
    write: async (folder) => {
      const file = openMetrics(join(folder, "m.jsonl"), 2);
      file.write(line(3));
      await file.flush();
      file.close();
    },
  });
  expect(calls).toBeGreaterThan(8);
});

/** For commands: a code other than 0 is an error of theirs, in what they print. */
async function command(...args: readonly string[]): Promise<void> {
  const { code, err } = await moec(...args);
  if (code === 0) return;
  if (code === 70 && /Killed|killed at|after the end/.test(err)) throw new Killed(err);
  expect(code, err).toBe(1);
  expect(err.split("\n").length, err).toBeLessThan(20);
  throw new MoeError({
    code: "printed",
    severity: "error",
    message: err,
    labels: [],
    notes: [],
    help: /help: .*/.exec(err)?.[0] ?? null,
  });
}

test("`fmt`", async () => {
  await sweep({
    faults: inTurn(),
    prepare: (folder) =>
      writeFileSync(join(folder, "a.moe"), "edition 2026\nlayer  Twice(D){forward(x: [T,D]) -> [T, D]=x*2}\n"),
    target: "a.moe",
    write: (folder) => command("fmt", join(folder, "a.moe")),
  });
});

test("`import`", async () => {
  const yaml = "base_model: base\ngate_mode: random\nexperts:\n  - source_model: a\n  - source_model: b\n";
  await sweep({
    prepare: (folder) => writeFileSync(join(folder, "mixture.yml"), yaml),
    target: "out.moe",
    faults: inTurn(2),
    write: async (folder) => {
      rmSync(join(folder, "out.moe"), { force: true });
      await command("import", join(folder, "mixture.yml"), "--out", join(folder, "out.moe"));
    },
  });
});

test("`build`", async () => {
  const build = (folder: string, config: string) =>
    command("build", "examples/03-model.moe", "--config", config, "--kind", "gpu", "--out", join(folder, "out"));
  await sweep({
    prepare: (folder) => build(folder, "small"),
    target: "out",
    faults: inTurn(97),
    write: (folder) => build(folder, "small"),
  });
});

test.each([
  ["--logits", 11],
  ["--gradients", 31],
])("`run %s`", async (option, step) => {
  await sweep({
    prepare: (folder) => writeFileSync(join(folder, "ids.json"), "[[1, 2]]"),
    target: "out.safetensors",
    faults: inTurn(step),
    write: (folder) =>
      command("run", SOURCE, "--ids", join(folder, "ids.json"), option, join(folder, "out.safetensors")),
  });
});

test.each(["export", "upcycle"])("`%s`", async (name) => {
  const args = name === "export" ? ["export", SOURCE] : ["upcycle", "average", "--from", SOURCE, SOURCE];
  const write = (folder: string, dtype: string) =>
    command(...args, "--dtype", dtype, "--overwrite", "--out", join(folder, "out"));
  await sweep({
    prepare: (folder) => write(folder, "f16"),
    target: "out",
    faults: inTurn(31),
    write: (folder) => write(folder, "f32"),
  });
});

test("a thread that writes is counted with the others, and its failure arrives", async () => {
  await withScratch(async (folder) => {
    const file = openFile(join(folder, "a"), O_CREAT | O_WRONLY);
    setFaults(makeFaults("ENOSPC", folder, 2));
    const sink = openSink(2 ** 40);
    await sink.write("a", new Uint8Array(4), file.fd, 0);
    await expect(sink.write("a", new Uint8Array(4), file.fd, 4)).rejects.toMatchObject({
      code: "ENOSPC",
      syscall: "write",
    });
    await sink.write("a", new Uint8Array(4), file.fd, 4);
    await sink.close();
    setFaults(null);
    file.close();
  });
});
