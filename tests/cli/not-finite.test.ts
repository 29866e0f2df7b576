/** Commands over a checkpoint with one weight that is finite and too large: each says so, exits with 1, and names the layer when asked. */
import { cpSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { narrowBf16 } from "../../compiler/plan/half.ts";
import { moec, temporary, writeFile } from "./support.ts";

/** A copy of a checkpoint, one element of one tensor another. */
function spoil(folder: string, name: string, value: number): string {
  const out = temporary(`spoilt-${name}`);
  if (existsSync(out)) return out;
  cpSync(folder, out, { recursive: true });
  const file = join(out, "model.safetensors");
  const bytes = readFileSync(file);
  const length = Number(bytes.readBigUInt64LE(0));
  const header = JSON.parse(bytes.toString("utf8", 8, 8 + length)) as Readonly<
    Record<string, { readonly dtype: string; readonly data_offsets: readonly [number, number] }>
  >;
  const { dtype, data_offsets: offsets } = header[name]!;
  const at = 8 + length + offsets[0];
  if (dtype === "F32") bytes.writeFloatLE(value, at);
  else bytes.writeUInt16LE(narrowBf16(Float32Array.of(value))[0]!, at);
  writeFileSync(file, bytes);
  return out;
}

const seed = (): string => spoil("examples/checkpoints/seed", "model.layers.1.mlp.down_proj.weight", 3e38);
const mixture = (): string =>
  spoil("tests/fixtures/families/mixtral", "model.layers.0.block_sparse_moe.experts.0.w2.weight", 3e38);
const ids = (): string => writeFile("ids.json", "[[5, 7, 11, 13]]");
const tokens = (): string =>
  writeFile("some.bin", new Uint8Array(Uint16Array.from({ length: 64 }, (_, i) => i).buffer));

const commands: Readonly<Record<string, () => readonly string[]>> = {
  generate: () => [seed(), "--prompt", "The licence", "--max-tokens", "4"],
  run: () => [seed(), "--ids", ids(), "--logits", temporary("logits.safetensors")],
  eval: () => [seed(), "--tokens", "examples/text/prose.bin", "--limit", "1", "--context", "16"],
  route: () => [mixture(), "--tokens", tokens(), "--context", "16"],
};

describe.each(Object.entries(commands))("%s", (command, args) => {
  test("says that results are not finite, and prints none", async () => {
    const run = await moec(command, ...args());
    expect(run).toMatchObject({ code: 1, out: "" });
    expect(run.err).toContain("error[session/not-finite]: results of ");
    expect(run.err).toContain("warning[checkpoint/extreme]: parameter `blocks[");
    expect(run.err).toContain("--trace-finite");
    expect(existsSync(temporary("logits.safetensors"))).toBe(false);
  });

  test("names the layer where it begins with --trace-finite", async () => {
    const run = await moec(command, ...args(), "--trace-finite");
    expect(run).toMatchObject({ code: 1, out: "" });
    expect(run.err).toMatch(/are NaN or infinite: this begins in `blocks\[\d\]\.\w+`, at token \d/);
  });
});

test("upcycle --verify says which model it is, and where", async () => {
  const out = temporary("verified");
  const args = ["--from", seed(), "--param", "N=2", "--out", out, "--verify", "examples/text/prose.bin"];
  const run = await moec("upcycle", "sparse", ...args, "--trace-finite");
  expect(run.code).toBe(1);
  expect(run.err).toMatch(/session\/not-finite.*: this begins in `blocks\[2\]\.norm1`, at token \d/);
  expect(run.err).toContain(`the model is ${out}`);
});
