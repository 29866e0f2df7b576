/** Errors of the file system while a checkpoint is written, told as such. Our own, and bugs, stay what they are. */
import { failure } from "../../grammar/diagnostic.ts";
import { FileError } from "../files/error.ts";

/** Throws `checkpoint/disk-full` and `checkpoint/write-failed`. */
export async function attempt<T>(target: string, action: () => T | Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (cause) {
    if (!(cause instanceof FileError)) throw cause;
    const { message } = cause.diagnostics[0]!;
    if (cause.code === "ENOSPC" || cause.code === "EDQUOT")
      throw failure("checkpoint/disk-full", `the disk became full while \`${target}\` was written`, {
        help: "free some space, and run the same command again",
      });
    throw failure("checkpoint/write-failed", `\`${target}\` cannot be written: ${message}`, { help: cause.help });
  }
}
