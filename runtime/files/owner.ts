/**
 * Who holds a lock, and whether it is still there. A number of a process comes again, so its start counts too; a process of another
 * machine, or of another container, cannot be looked at from here and is taken to be alive.
 */
import { randomBytes } from "node:crypto";
import { hostname } from "node:os";
import { threadId } from "node:worker_threads";
import { O_RDONLY, openFile, readLink } from "./system.ts";

export interface Owner {
  readonly pid: number;
  readonly host: string;
  /** The start of the machine, the processes that it sees, its own start; empty where the system does not tell. */
  readonly boot: string;
  readonly space: string;
  readonly start: string;
  /** Threads of a process have numbers from 0. */
  readonly thread: number;
  /** Of one lock. */
  readonly nonce: string;
}

export function describeSelf(): Owner {
  return {
    pid: process.pid,
    host: hostname(),
    boot: readBoot(),
    space: orEmpty(() => readLink("/proc/self/ns/pid")),
    start: readProcess("self").start,
    thread: threadId,
    nonce: randomBytes(8).toString("hex"),
  };
}

/** Changes when the machine starts. */
export const readBoot = (): string => readSystem("/proc/sys/kernel/random/boot_id").trim();

/** Null for a text that nobody wrote as a whole, or another moec. */
export function parseOwner(text: string): Owner | null {
  const earlier = /^(\d+) (\S+)$/.exec(text);
  if (earlier !== null)
    return { pid: Number(earlier[1]), host: earlier[2]!, boot: "", space: "", start: "", thread: 0, nonce: "earlier" };
  try {
    const owner = JSON.parse(text) as Partial<Record<keyof Owner, unknown>> | null;
    const texts = [owner?.host, owner?.boot, owner?.space, owner?.start, owner?.nonce];
    const isOwner = texts.every((t) => typeof t === "string") && Number.isInteger(owner?.pid);
    return isOwner && /^\w+$/.test(String(owner?.nonce)) ? (owner as unknown as Owner) : null;
  } catch {
    return null;
  }
}

/** False only for one that is certainly gone. `holds`: whether this thread holds a lock of a nonce. */
export function isAlive(owner: Owner, holds: (nonce: string) => boolean): boolean {
  const self = describeSelf();
  if (owner.host !== self.host) return true;
  if (differ(owner.boot, self.boot)) return false;
  if (differ(owner.space, self.space)) return true;
  if (!doesExist(owner.pid)) return false;
  const { start, hasEnded } = readProcess(String(owner.pid));
  if (hasEnded || differ(owner.start, start)) return false;
  const isHere = owner.pid === self.pid && owner.thread === self.thread;
  return isHere ? holds(owner.nonce) : true;
}

/** What is not told is no difference. */
const differ = (a: string, b: string): boolean => a !== "" && b !== "" && a !== b;

function doesExist(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (cause) {
    return (cause as NodeJS.ErrnoException).code !== "ESRCH";
  }
}

/** On Linux. The name of the program may hold anything; what follows its last `)` are fields, of which the state is the third of all. */
function readProcess(pid: string): { readonly start: string; readonly hasEnded: boolean } {
  const text = readSystem(`/proc/${pid}/stat`);
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  return { start: fields[19] ?? "", hasEnded: /^[ZX]$/.test(fields[0] ?? "") };
}

/** Files that the system makes when they are read have no size. Empty where there is none. */
function readSystem(path: string): string {
  return orEmpty(() => {
    const file = openFile(path, O_RDONLY);
    try {
      const bytes = new Uint8Array(4096);
      return new TextDecoder().decode(bytes.subarray(0, file.readNow(bytes, 0)));
    } finally {
      file.close();
    }
  });
}

function orEmpty(read: () => string): string {
  try {
    return read();
  } catch {
    return "";
  }
}
