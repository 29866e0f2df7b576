/** Bytes on their way to a file, and their hashes: the same from here as from a thread of its own. */
import { createHash } from "node:crypto";
import { closeSync, openSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { openSink, type Sink } from "../../../runtime/save/sink.ts";
import { withScratch } from "../checkpoint/scratch.ts";

/** So many bytes that a thread is worth it, or not. */
const AMOUNTS = [
  ["here", 0],
  ["in a thread", 2 ** 40],
] as const;

/** Opens a file and a sink for it, and closes both. */
async function withSink(
  amount: number,
  flags: string,
  body: (sink: Sink, file: number, path: string) => Promise<void>,
): Promise<void> {
  await withScratch(async (scratch) => {
    const path = join(scratch, "file");
    closeSync(openSync(path, "w"));
    const file = openSync(path, flags);
    const sink = openSink(amount);
    await body(sink, file, path).finally(() => sink.close());
    closeSync(file);
  });
}

/** Bytes that do not repeat at a power of two. */
function makeBytes(length: number, shared: boolean): Uint8Array {
  const bytes = new Uint8Array(shared ? new SharedArrayBuffer(length) : new ArrayBuffer(length));
  for (let i = 0; i < length; i++) bytes[i] = (i % 251) + length;
  return bytes;
}

describe.each(AMOUNTS)("%s", (_, amount) => {
  test("pieces of two tensors lie where they were asked for, and have the hashes of their bytes", async () => {
    await withSink(amount, "r+", async (sink, file, path) => {
      const [a, b] = [makeBytes(300_001, true), makeBytes(200_003, false)];
      await Promise.all([
        sink.write("a", a.subarray(0, 5), file, 200_003),
        sink.write("b", b.subarray(0, 140_000), file, 0),
        sink.write("a", a.subarray(5), file, 200_008),
        sink.write("b", b.subarray(140_000), file, 140_000),
      ]);
      const hash = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");
      expect(await Promise.all(["a", "b", "none"].map((name) => sink.end(name)))).toEqual(
        [a, b, new Uint8Array(0)].map(hash),
      );
      expect(readFileSync(path).equals(Buffer.concat([b, a]))).toBe(true);
    });
  });

  test("a write that the system refuses fails with its code, and the next goes on", async () => {
    await withSink(amount, "r", async (sink, file) => {
      const refused = sink.write("a", new Uint8Array(3), file, 0);
      await expect(refused).rejects.toMatchObject({ code: "EBADF", syscall: "write" });
      expect(await sink.end("b")).toMatch(/^e3b0c442/);
    });
  });
});
