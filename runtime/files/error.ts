/** Errors of the file system as diagnostics: what was tried, with which file, why it failed, what to do. */
import { MoeError } from "../../grammar/diagnostic.ts";

/** A call that the system refused. `file/failed`, unless whoever asked for it says more. */
export class FileError extends MoeError {
  /** The system's, such as `ENOENT`. */
  readonly code: string;
  readonly syscall: string;
  readonly path: string;
  /** In plain words. */
  readonly reason: string;
  readonly help: string;

  constructor(cause: { readonly code: string; readonly syscall: string }, path = "the output") {
    const [reason, help] = REASONS[cause.code] ?? [`the system says ${cause.code}`, "check the path and its disk"];
    super({
      code: "file/failed",
      severity: "error",
      message: `cannot ${VERBS[cause.syscall] ?? cause.syscall} \`${path}\`: ${reason}`,
      labels: [],
      notes: [],
      help,
    });
    this.code = cause.code;
    this.syscall = cause.syscall;
    this.path = path;
    this.reason = reason;
    this.help = help;
  }
}

/** Whether a call failed because nothing has this name. A file in the place of a folder is another matter. */
export const isAbsent = (error: unknown): boolean => error instanceof FileError && error.code === "ENOENT";

const VERBS: Readonly<Record<string, string>> = {
  access: "write to",
  fchmod: "write",
  fchown: "keep the owner of",
  fdatasync: "write",
  fsync: "write",
  ftruncate: "write",
  link: "make",
  lstat: "look at",
  mkdir: "make",
  readdir: "list",
  realpath: "look at",
  rmdir: "remove",
  stat: "look at",
  statfs: "look at",
  unlink: "remove",
};

const ELSEWHERE = "choose a place that you can write to";

/** Why, and what to do. */
const REASONS: Readonly<Record<string, readonly [string, string]>> = {
  EACCES: ["permission denied", "check who may use it, and its folder"],
  EBUSY: ["something else uses it", "close what uses it, and start again"],
  EDQUOT: ["your share of the disk is used up", "free some space, and run the same command again"],
  EEXIST: ["it exists already", "choose another name"],
  EFBIG: ["the file would be larger than its disk allows", "write to another disk, or in smaller files"],
  EINVAL: ["the file system does not allow it", "check the path"],
  EIO: ["the disk reports an error", "check the disk"],
  EISDIR: ["it is a folder", "give a file"],
  ELOOP: ["its links lead in a circle", "mend the link, or give another path"],
  EMFILE: ["too many files are open", "raise the limit of open files (`ulimit -n`)"],
  ENAMETOOLONG: ["the name is too long", "choose a shorter name"],
  ENFILE: ["too many files are open on this machine", "close what opened them"],
  ENOENT: ["there is no such file or folder", "check the path"],
  ENOSPC: ["the disk is full", "free some space, and run the same command again"],
  ENOTDIR: ["a part of the path is a file, not a folder", "check the path"],
  ENOTEMPTY: ["the folder is not empty", "choose another name"],
  ENXIO: ["nothing answers there", "give a file"],
  EPERM: ["the system does not allow it", ELSEWHERE],
  EROFS: ["the disk can only be read", ELSEWHERE],
  ESTALE: ["the file server has lost it", "start again"],
  ETXTBSY: ["it is a program that runs", "choose another name"],
  EXDEV: ["the two names are on different disks", "choose another name"],
};
