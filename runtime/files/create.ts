/** New files that nobody sees before they are whole, and that take no name which is somebody's. */
import { FileError, isAbsent } from "./error.ts";
import * as system from "./system.ts";

/** How a file is made: its bytes, and what else is to be so before it has its name. */
export type Fill = (file: system.OpenFile) => void;

/** Makes `name`, by way of `aside`; false when it exists. Where the file system has no second names, it is seen before it is whole. */
export function createWhole(aside: string, name: string, fill: Fill): boolean {
  try {
    writeNew(aside, fill);
    system.link(aside, name);
    return true;
  } catch (error) {
    if (!(error instanceof FileError)) throw error;
    if (error.code === "EEXIST") return false;
    if (error.syscall !== "link" || !NO_LINKS.has(error.code)) throw error;
    return createHere(name, fill);
  } finally {
    removeIfAny(aside);
  }
}

/** What file systems without second names answer. */
const NO_LINKS = new Set(["EPERM", "ENOTSUP", "EOPNOTSUPP", "ENOSYS", "EMLINK"]);

function createHere(name: string, fill: Fill): boolean {
  try {
    writeNew(name, fill);
    return true;
  } catch (error) {
    if (error instanceof FileError && error.code === "EEXIST" && error.syscall === "open") return false;
    throw error;
  }
}

/** Throws for a name that is taken. What a failure leaves of a new file is removed. */
export function writeNew(path: string, fill: Fill): void {
  const { O_CREAT, O_EXCL, O_WRONLY } = system;
  const file = system.openFile(path, O_CREAT | O_EXCL | O_WRONLY);
  try {
    fill(file);
    file.close();
  } catch (error) {
    tryTo(file.close);
    tryTo(() => removeIfAny(path));
    throw error;
  }
}

export function removeIfAny(path: string): void {
  try {
    system.removeFile(path);
  } catch (error) {
    if (!isAbsent(error)) throw error;
  }
}

/** What is done after a failure does not hide it. */
export function tryTo(action: () => unknown): void {
  try {
    action();
  } catch {
    return;
  }
}
