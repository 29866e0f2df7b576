/**
 * Directories that must not outlive a failure. Output is built in a hidden sibling of its final place, on the same file
 * system, so that one rename publishes it; whatever ends the process first (exit, Ctrl-C, a kill that can be caught) removes it.
 */
import { randomBytes } from "node:crypto";
import { rmSync } from "node:fs";
import { mkdir, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";

const live = new Set<string>();
const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

/** A new empty directory beside `target`, whose parents are made where they lack. */
export async function createSibling(target: string): Promise<string> {
  await mkdir(dirname(target), { recursive: true });
  // Not mkdtemp, whose directories only their owner may read: this one is to become the result.
  const suffix = randomBytes(4).toString("hex");
  const directory = join(dirname(target), `.${basename(target)}.partial-${suffix}`);
  await mkdir(directory);
  if (live.size === 0) listen();
  live.add(directory);
  return directory;
}

/** Ends the watch over a directory that now lies at its final place. */
export function keep(directory: string): void {
  if (live.delete(directory) && live.size === 0) unlisten();
}

export async function discard(directory: string): Promise<void> {
  await rm(directory, { recursive: true, force: true });
  keep(directory);
}

function listen(): void {
  process.on("exit", removeAll);
  for (const signal of SIGNALS) process.on(signal, onSignal);
}

function unlisten(): void {
  process.off("exit", removeAll);
  for (const signal of SIGNALS) process.off(signal, onSignal);
}

function removeAll(): void {
  for (const directory of live) rmSync(directory, { recursive: true, force: true });
  live.clear();
}

function onSignal(signal: NodeJS.Signals): void {
  removeAll();
  unlisten();
  // Listening has switched off the signal's own effect. Unless somebody else listens too, it is due now.
  if (process.listenerCount(signal) === 0) process.kill(process.pid, signal);
}
