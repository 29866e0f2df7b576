/**
 * Single files written whole or not at all: under another name first, then renamed. What has the name now keeps what is not its
 * content: a link stays one and what it leads to is written, mode and owner stay. Only an ordinary file is ever replaced.
 */
import { randomBytes } from "node:crypto";
import { basename, dirname, join } from "node:path";
import { failure } from "../../grammar/diagnostic.ts";
import { createWhole, type Fill, removeIfAny, tryTo, writeNew } from "./create.ts";
import { flushFolder } from "./disk.ts";
import { find, kindOf, readBytes, recode } from "./read.ts";
import { checkWritable, lstat, realpath, rename, stat, type Stats } from "./system.ts";
import { lookAt } from "./target.ts";

export type Content = readonly (Uint8Array | string)[];

/** What a new file gets its name by. */
const asideOf = (path: string): string =>
  join(dirname(path), `.${basename(path)}.partial-${randomBytes(4).toString("hex")}`);

/** Throws `cli/file-exists` where something has this name, `cli/cannot-write`. */
export function createFile(path: string, content: Content): void {
  const isNew = recode(
    "cli/cannot-write",
    () => {
      const made = createWhole(asideOf(path), path, fillWith(content, null));
      flushFolder(dirname(path));
      return made;
    },
    `cannot write ${path}`,
  );
  if (isNew) return;
  throw failure("cli/file-exists", `${path} exists already`, { help: "give another name with --out, or remove it" });
}

/**
 * Throws `cli/cannot-write` where nothing may be written: a folder, device, FIFO or socket, a link to nothing, a file with several
 * names, or one of `inputs`, which are read. `null`: there is no such file yet.
 */
export function checkReplaceable(path: string, inputs: readonly string[]): Stats | null {
  const refuse = (message: string, help: string): Error =>
    failure("cli/cannot-write", `cannot write ${path}: ${message}`, { help });
  return recode(
    "cli/cannot-write",
    () => {
      const own = lookAt(path);
      if (own === null) {
        const kind = kindOf(stat(dirname(path)));
        if (kind !== "a folder")
          throw refuse(`\`${dirname(path)}\` is no folder`, "give a file in a folder that is there");
        return null;
      }
      const found = find(path);
      if (found === null) throw refuse("it is a link to nothing", "remove the link, or give another name");
      const kind = kindOf(found);
      if (kind !== null) throw refuse(`it is ${kind}, not a file`, "give the name of an ordinary file");
      const isInput = inputs.some((input) => {
        const other = find(input);
        return other !== null && other.ino === found.ino && other.dev === found.dev;
      });
      if (isInput) throw refuse("it is one of the files that are read", "give another name");
      if (found.nlink > 1n)
        throw refuse("it has other names, which would keep the old content", "give another name, or copy it first");
      checkWritable(path);
      return found;
    },
    `cannot write ${path}`,
  );
}

/** `expected`: what it held when it was read; other content is somebody's work of the meantime. Throws `file/changed` as well. */
export function replaceFile(
  path: string,
  content: Content,
  { inputs = [], expected = null }: { readonly inputs?: readonly string[]; readonly expected?: Uint8Array | null } = {},
): void {
  const found = checkReplaceable(path, inputs);
  recode(
    "cli/cannot-write",
    () => {
      const real = found === null ? path : realpath(path);
      const aside = asideOf(real);
      writeNew(aside, fillWith(content, found));
      try {
        if (expected !== null && Buffer.compare(readBytes(real), expected) !== 0)
          throw failure("file/changed", `\`${path}\` was written to meanwhile, and is left as it is`, {
            help: "run the same command again",
          });
        rename(aside, real);
      } catch (error) {
        tryTo(() => removeIfAny(aside));
        throw error;
      }
      flushFolder(dirname(real));
    },
    `cannot write ${path}`,
  );
}

/** `like`: whose mode and owner the new file takes over. */
function fillWith(content: Content, like: Stats | null): Fill {
  return (file) => {
    if (like !== null) {
      const own = lstat(file.path);
      if (own.uid !== like.uid || own.gid !== like.gid) file.setOwner(Number(like.uid), Number(like.gid));
      file.setMode(Number(like.mode) & 0o7777);
    }
    let at = 0;
    for (const piece of content) {
      const bytes = typeof piece === "string" ? new TextEncoder().encode(piece) : piece;
      file.write(bytes, at);
      at += bytes.byteLength;
    }
    file.flushNow();
  };
}
