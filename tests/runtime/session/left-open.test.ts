/** Nothing is held when it is no longer used: files, buffers and devices, also where opening ended half-way. */
import { copyFileSync, mkdtempSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { Aborted } from "../../../runtime/abort.ts";
import { openDevice } from "../../../runtime/dawn/open-device.ts";
import { Device } from "../../../runtime/gpu/device.ts";
import { loadModel } from "../../../runtime/load/load-model.ts";
import { openWorkspace } from "../../../runtime/load/modules.ts";
import { open } from "../../../runtime/open.ts";
import { openSession } from "../../../runtime/session/session.ts";
import { verifyModels } from "../../../runtime/upcycle/verify.ts";
import { openFiles, watchBuffers } from "../../support/left-open.ts";
import { source, tinyPlan } from "../../support/tiny-plan.ts";
import { CHECKPOINTS, SET_ROUTER, withPlan } from "../upcycle/support.ts";

const FOLDER = CHECKPOINTS[0]!;
const WEIGHTS = ".safetensors";
let device: Device;
beforeAll(async () => void (device = await openDevice()));
afterAll(() => device.close());

/** A signal that is aborted when it is looked at for the n-th time, and how often it was. */
function abortAt(n: number): { readonly signal: AbortSignal; readonly looks: () => number } {
  let looks = 0;
  const controller = new AbortController();
  const { signal } = controller;
  const real = (): boolean => Reflect.get(AbortSignal.prototype, "aborted", signal) as boolean;
  Object.defineProperty(signal, "aborted", {
    get: () => {
      if (++looks === n) controller.abort();
      return real();
    },
  });
  return { signal, looks: () => looks };
}

/** Ends `run` at each of its looks at the signal in turn, until it is through; how often it was ended. */
async function abortEverywhere(run: (signal: AbortSignal) => Promise<unknown>, after: () => void): Promise<number> {
  for (let n = 1; ; n++) {
    const { signal, looks } = abortAt(n);
    const error: unknown = await run(signal).then(
      () => null,
      (e: unknown) => e,
    );
    after();
    if (looks() < n) return n - 1;
    expect(error).toBeInstanceOf(Aborted);
  }
}

test("two hundred checkpoints and sessions, opened and closed, hold no file and no buffer", async () => {
  using buffers = watchBuffers(device);
  const plan = tinyPlan(device.facts);
  const workspace = openWorkspace();
  for (let i = 0; i < 200; i++) {
    const { checkpoint } = await loadModel(FOLDER, workspace);
    const session = await openSession({ plan, device, source, capacity: 64 });
    if (i === 0 && process.platform === "linux") expect(openFiles(WEIGHTS)).toHaveLength(1);
    session.close();
    await checkpoint.close();
  }
  expect(openFiles(WEIGHTS)).toEqual([]);
  expect(buffers.alive.size).toBe(0);
});

test("twenty devices, opened and closed, are all given back, one time each", async () => {
  const destroyed: Promise<GPUDeviceLostInfo>[] = [];
  for (let i = 0; i < 20; i++) {
    const one = await openDevice({ adapter: "null" });
    destroyed.push(one.gpu.lost);
    one.close();
    one.close();
  }
  expect((await Promise.all(destroyed)).map((info) => info.reason)).toEqual(Array(20).fill("destroyed"));
});

describe("an `open` that ends half-way holds nothing:", () => {
  const folder = mkdtempSync(join(tmpdir(), "moec-left-"));
  afterAll(() => rmSync(folder, { recursive: true }));
  const weights = join(folder, "model.safetensors");
  const fresh = (): void => {
    for (const name of readdirSync(FOLDER)) copyFileSync(join(FOLDER, name), join(folder, name));
  };
  const damages: readonly (readonly [string, string, () => void])[] = [
    ["cut off", "checkpoint/", () => truncateSync(weights, 100_000)],
    ["no number", "checkpoint/not-finite", () => writeFileSync(weights, readFileSync(weights).fill(0xff, 2_000_000))],
  ];

  test.each(damages)("weights that are damaged (%s)", async (_, code, damage) => {
    fresh();
    damage();
    using buffers = watchBuffers(device);
    await expect(open(folder, { device })).rejects.toThrow(code);
    expect(openFiles(WEIGHTS)).toEqual([]);
    expect([...buffers.alive].map((b) => b.label)).toEqual([]);
    const close = vi.spyOn(Device.prototype, "close");
    await expect(open(folder)).rejects.toThrow(code);
    // A file that is cut off is told before a device is opened.
    expect(close).toHaveBeenCalledTimes(code === "checkpoint/not-finite" ? 1 : 0);
    close.mockRestore();
  });

  test("a signal, wherever it is looked at", async () => {
    using buffers = watchBuffers(device);
    const ended = await abortEverywhere(
      async (signal) => (await open(FOLDER, { device, signal, capacity: 64 })).close(),
      () => {
        expect(openFiles(WEIGHTS)).toEqual([]);
        expect([...buffers.alive].map((b) => b.label)).toEqual([]);
      },
    );
    expect(ended).toBeGreaterThan(3);
  });

  test("one that is aborted already ends it before a file or a device is opened", async () => {
    const missing = join(folder, "nothing");
    await expect(open(missing, { signal: AbortSignal.abort() })).rejects.toBeInstanceOf(Aborted);
  });
});

test("a signal ends the planning of an upcycling, wherever it is looked at, and no file stays open", async () => {
  const ended = await abortEverywhere(
    (signal) => withPlan("btx", CHECKPOINTS, { overrides: [SET_ROUTER], dtype: "f32", signal }, async () => {}),
    () => expect(openFiles(WEIGHTS)).toEqual([]),
  );
  expect(ended).toBeGreaterThan(2);
});

test("a signal ends the comparison of a made model with its sources between two models, and no buffer stays", async () => {
  using buffers = watchBuffers(device);
  const loaded = await loadModel(FOLDER);
  const controller = new AbortController();
  const reason = new Error("enough");
  const names: string[] = [];
  const onModel = (name: string): void => {
    if (names.push(name) === 2) controller.abort(reason);
  };
  const [made, ...others] = ["made", "first", "second"].map((name) => ({ name, loaded }));
  const { signal } = controller;
  const run = verifyModels(device, made!, others, [Uint32Array.of(1, 2, 3)], { onModel, signal });
  await expect(run).rejects.toBe(reason);
  await loaded.checkpoint.close();
  expect(names).toEqual(["made", "first"]);
  expect([...buffers.alive].map((b) => b.label)).toEqual([]);
});
