/** When a test is ended: by the work that it does, never by the clock. */
import { expect, test } from "vitest";
import { napAfter } from "../runtime/dawn/wait.ts";
import { useOfTree, Watch } from "./support/watch.ts";

const looks = (watch: Watch, seconds: readonly number[], others: readonly number[] | null = []): (string | null)[] =>
  seconds.map((s) => watch.look({ seconds: s, others }));

test("a test that is starved, with a fiftieth of a core, may take as long as it needs", () => {
  const slow = Array.from({ length: 10_000 }, (_, i) => i * 0.1);
  expect(looks(new Watch(5000, 120), slow).every((reason) => reason === null)).toBe(true);
});

test("a test that waits without any work is ended after two minutes of looks, and one that polls too", () => {
  for (const share of [0, 0.004]) {
    const waiting = Array.from({ length: 40 }, (_, i) => 7 + i * 5 * share);
    const at = looks(new Watch(5000, 120), waiting).findIndex((reason) => reason !== null);
    expect(at * 5).toBe(120);
  }
});

test("a little work in between begins the count anew", () => {
  const watch = new Watch(5000, 120);
  const rests = Array.from({ length: 100 }, (_, i) => Math.floor(i / 20));
  expect(looks(watch, rests).every((reason) => reason === null)).toBe(true);
});

test("a test that works without end is ended by its CPU time", () => {
  const busy = Array.from({ length: 200 }, (_, i) => i * 10);
  const reasons = looks(new Watch(5000, 120), busy);
  expect(reasons[120]).toBeNull();
  expect(reasons[121]).toContain("it does not end");
});

test("where others cannot be seen, waiting is no reason", () => {
  expect(
    looks(
      new Watch(5000, 120),
      Array.from({ length: 60 }, () => 1),
      null,
    ).every((r) => r === null),
  ).toBe(true);
});

test.runIf(process.platform === "linux")("a process's own work counts", () => {
  const before = useOfTree(process.pid).seconds;
  const until = process.cpuUsage().user + 200_000;
  while (process.cpuUsage().user < until);
  expect(useOfTree(process.pid).seconds - before).toBeGreaterThanOrEqual(0.1);
});

test("a long wait for the device naps long: it takes less than the share of a core that counts as work", () => {
  expect(napAfter(0.2)).toBeLessThan(0.05);
  expect(napAfter(100)).toBe(1);
  expect(napAfter(120_000)).toBe(10);
});
