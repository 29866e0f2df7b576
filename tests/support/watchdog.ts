/**
 * Tests are not timed: on a busy machine the same work takes ten times as long. They are watched instead. A thread beside each test file
 * looks at the CPU time of the process and of what it started, and ends all of it when a test goes on without any, or uses more than any
 * test needs. It also ends what blocks the main thread, which no timeout of the runner can.
 */
import { Worker } from "node:worker_threads";
import { afterEach, beforeEach, expect } from "vitest";

const thread = new Worker(new URL("./watchdog-thread.ts", import.meta.url), { env: process.env });
// A file whose tests are done must not wait for it.
thread.unref();

const tell = (test: string | null): void =>
  thread.postMessage({ file: expect.getState().testPath ?? "a test file", test });

tell(null);
beforeEach(() => tell(expect.getState().currentTestName ?? null));
afterEach(() => tell(null));
