/** Output that must not outlive its process: whatever ends that (exit, Ctrl-C, a kill that can be caught) removes it first. */
import { tryTo } from "../files/create.ts";

interface Removable {
  remove(): void;
}

const live = new Set<Removable>();
const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

export function watch(output: Removable): void {
  if (live.size === 0) listen();
  live.add(output);
}

/** It lies at its final place now, or is gone. */
export function unwatch(output: Removable): void {
  if (live.delete(output) && live.size === 0) unlisten();
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
  for (const output of live) tryTo(() => output.remove());
  live.clear();
}

function onSignal(signal: NodeJS.Signals): void {
  removeAll();
  unlisten();
  // Listening has switched off the signal's own effect. Unless somebody else listens too, it is due now.
  if (process.listenerCount(signal) === 0) process.kill(process.pid, signal);
}
