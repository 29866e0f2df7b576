/**
 * Faults for tests: the n-th call to the file system below a folder fails with a code of the system, or the process is as good as
 * killed there: that call and all after it do nothing. The state is shared memory, so that threads count together.
 */
export type Fault = "ENOSPC" | "EIO" | "EROFS" | "EPERM" | "EINTR" | "killed";

export interface Faults {
  readonly fault: Fault;
  /** Calls elsewhere do not count. */
  readonly within: string;
  /** Calls so far, the one to fail (0: none), whether the process is dead. */
  readonly state: Int32Array<SharedArrayBuffer>;
}

let current: Faults | null = null;

export function makeFaults(fault: Fault, within: string, call: number): Faults {
  return { fault, within, state: new Int32Array(new SharedArrayBuffer(12)).fill(call, 1, 2) };
}

/** From now on in this thread; null for none. A new thread is handed what `currentFaults` gives. */
export function setFaults(faults: Faults | null): void {
  current = faults;
}

export const currentFaults = (): Faults | null => current;

/** What a killed process would never see: nobody may take it for an error of the system's. */
export class Killed extends Error {}

/** Throws where this call is to fail; `tear` does half of it before. `path` is null where only a number of a file is known. */
export function strike(syscall: string, path: string | null, tear: () => void = () => undefined): void {
  if (current === null || (path !== null && !path.startsWith(current.within))) return;
  const { state, fault } = current;
  if (Atomics.load(state, 2) !== 0) throw new Killed(`${syscall} after the end`);
  if (Atomics.add(state, 0, 1) + 1 !== Atomics.load(state, 1)) return;
  if (fault !== "EINTR") tear();
  if (fault !== "killed")
    throw Object.assign(new Error(`${fault}: made to fail, ${syscall}`), { code: fault, syscall });
  Atomics.store(state, 2, 1);
  throw new Killed(`killed at ${syscall}`);
}
