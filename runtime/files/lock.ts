/**
 * A lock that cannot be held twice, as files of a folder. A claim is written whole under a name of its own and then linked to the name
 * it is for, which the system does for one process only: `lock` where there is none, or, where its holder is gone, `lock.` with the
 * nonce of that holder. So a dead lock is never removed by who finds it: it gets a heir, and nobody else can be the heir of just
 * that lock. The last of this line holds it. Who has linked looks again whether it is the last: `lock` may have been another by then.
 * Released from its beginning on, so that a line without a beginning is none.
 */
import { join } from "node:path";
import { failure } from "../../grammar/diagnostic.ts";
import { createWhole, removeIfAny } from "./create.ts";
import { FileError, isAbsent } from "./error.ts";
import { describeSelf, isAlive, type Owner, parseOwner } from "./owner.ts";
import { readBytesIfAny } from "./read.ts";
import * as system from "./system.ts";

export interface Lock {
  /** Throws `checkpoint/busy` when somebody took it away. */
  check(): void;
  /** Harmless when it is released. */
  release(): void;
}

/** Nonces that this thread holds, whatever copy of this module took them. */
const held = ((globalThis as Record<symbol, unknown>)[Symbol.for("moec.locks")] ??= new Set()) as Set<string>;

/** Others come and go; who loses so often meets a crowd. */
const MOST_TRIES = 100;

/** Takes the lock of a folder, which is made where it lacks. Throws `checkpoint/busy`, which names `target`. */
export function takeLock(folder: string, target: string): Lock {
  for (let tries = 0; tries < MOST_TRIES; tries++) {
    const own = describeSelf();
    try {
      makeFolder(folder);
      if (claim(folder, target, own)) return hold(folder, target, own);
    } catch (error) {
      // Whoever was at work here has ended, and removed the folder.
      if (!isAbsent(error)) throw error;
    }
  }
  throw busy(folder, target, null);
}

function hold(folder: string, target: string, { nonce }: Owner): Lock {
  held.add(nonce);
  return {
    check() {
      const { holder } = findLast(folder);
      if (!held.has(nonce) || holder?.nonce !== nonce) throw busy(folder, target, holder);
    },
    release() {
      if (!held.delete(nonce)) return;
      const line = listLine(folder).map((link) => link.name);
      if (line.at(-1) === undefined || readOwner(join(folder, line.at(-1)!))?.nonce !== nonce) return;
      // Claims that came to nothing: who still makes one sees that it is gone, and makes another.
      const others = system.readNames(folder).filter((name) => /^(claim|lock)\./.test(name) && !line.includes(name));
      for (const name of others) removeIfAny(join(folder, name));
      for (const name of line) system.removeFile(join(folder, name));
    },
  };
}

/** False when somebody was faster. */
function claim(folder: string, target: string, own: Owner): boolean {
  const last = findLast(folder);
  if (last.isTaken) throw busy(folder, target, last.holder);
  const name = join(folder, last.next);
  try {
    // Who reads it before it is whole takes its writer to be alive.
    const text = new TextEncoder().encode(JSON.stringify(own));
    if (!createWhole(join(folder, `claim.${own.nonce}`), name, (file) => file.write(text, 0))) return false;
    if (findLast(folder).holder?.nonce === own.nonce) return true;
  } catch (error) {
    withdraw(name, own);
    throw error;
  }
  withdraw(name, own);
  return false;
}

/** What cannot be read or removed now is not held by this thread, and dead with this process. */
function withdraw(name: string, { nonce }: Owner): void {
  try {
    if (readOwner(name)?.nonce === nonce) system.removeFile(name);
  } catch {
    return;
  }
}

interface Last {
  readonly holder: Owner | null;
  readonly isTaken: boolean;
  /** The name for a heir. */
  readonly next: string;
}

function findLast(folder: string): Last {
  const line = listLine(folder);
  const last = line.at(-1);
  if (last === undefined) return { holder: null, isTaken: false, next: "lock" };
  const { owner } = last;
  if (owner === null) return { holder: null, isTaken: true, next: "" };
  return { holder: owner, isTaken: isAlive(owner, (nonce) => held.has(nonce)), next: `lock.${owner.nonce}` };
}

interface Link {
  readonly name: string;
  /** Null: nobody can say whose it is. */
  readonly owner: Owner | null;
}

function listLine(folder: string): readonly Link[] {
  const line: Link[] = [];
  const seen = new Set<string>();
  for (let name = "lock"; ;) {
    const owner = readOwner(join(folder, name));
    if (owner === undefined) return line;
    line.push({ name, owner });
    if (owner === null || seen.has(owner.nonce)) return line;
    seen.add(owner.nonce);
    name = `lock.${owner.nonce}`;
  }
}

/** Undefined where there is no lock, null where nobody can say whose it is. */
function readOwner(path: string): Owner | null | undefined {
  const bytes = readBytesIfAny(path, 1 << 16);
  return bytes === null ? undefined : parseOwner(new TextDecoder().decode(bytes));
}

function makeFolder(folder: string): void {
  try {
    system.makeFolder(folder);
  } catch (error) {
    if (!(error instanceof FileError) || error.code !== "EEXIST") throw error;
  }
}

function busy(folder: string, target: string, holder: Owner | null): Error {
  const path = join(folder, "lock");
  return failure("checkpoint/busy", `another process is writing \`${target}\``, {
    notes: [holder === null ? `by \`${path}\`` : `process ${holder.pid} on ${holder.host}, by \`${path}\``],
    help: "wait for it; if there is none, remove that file",
  });
}
