/** What a checkpoint asks of whoever gives its bytes, which need not be a disk. */
import { expect, test } from "vitest";
import { type ByteSource, Unreadable } from "../../../runtime/checkpoint/byte-source.ts";
import { readSafetensors } from "../../../runtime/checkpoint/safetensors.ts";
import { encodeHeader } from "../../../runtime/checkpoint/safetensors-header.ts";
import { expectFailure } from "./scratch.ts";

const header = encodeHeader([{ name: "a", dtype: "U8", shape: [4] }], {});
const file = new Uint8Array([...header, 1, 2, 3, 4]);

/** A file in memory, and how often it was closed. `read` stands in for how it is read behind the header. */
function sourceOf(bytes: Uint8Array, read?: ByteSource["read"]) {
  const told = { closed: 0 };
  const source: ByteSource = {
    path: "https://example.org/model.safetensors",
    name: "model.safetensors",
    size: bytes.byteLength,
    modified: 0n,
    read: async (position, into) => {
      if (read !== undefined && position >= header.byteLength) return read(position, into);
      const part = bytes.subarray(position, position + into.byteLength);
      into.set(part);
      return part.byteLength;
    },
    checkUnchanged: async () => {},
    close: async () => void told.closed++,
  };
  return { source, told };
}

test("a file is read by position from whatever gives its bytes, and closed with it", async () => {
  const { source, told } = sourceOf(file);
  const opened = await readSafetensors(source);
  expect([...(await opened.read("a", { byteOffset: 1, length: 2 }))]).toEqual([2, 3]);
  expect(told.closed).toBe(0);
  await opened.close();
  expect(told.closed).toBe(1);
});

test("a source that cannot be read is told with the tensor, the place and the reason", async () => {
  const { source } = sourceOf(file, () => Promise.reject(new Unreadable("the server answers 503")));
  const { read } = await readSafetensors(source);
  await expectFailure(read("a"), "checkpoint/unreadable", "tensor `a`", source.path, "the server answers 503");
});

test("a source that ends before its size says is told as cut short", async () => {
  const { source } = sourceOf(file, async () => 3);
  const { read } = await readSafetensors(source);
  await expectFailure(read("a"), "checkpoint/truncated", "tensor `a`", source.path);
});

test("a mistake of the source's own stays what it is, and a header that is not sound closes it", async () => {
  const { source } = sourceOf(file, () => Promise.reject(new TypeError("of ours")));
  const { read } = await readSafetensors(source);
  await expect(read("a")).rejects.toThrow(TypeError);
  const wrong = sourceOf(file.subarray(0, -1));
  await expectFailure(readSafetensors(wrong.source), "checkpoint/truncated", wrong.source.path);
  expect(wrong.told.closed).toBe(1);
});
