/** Checkpoints whose tensors are stored in an encoding: they mean the model that their values mean, and are written so. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { expandMap, findMap, makeModel, readConfig, type Json } from "../../../compiler/index.ts";
import { DiagnosticBag } from "../../../grammar/index.ts";
import { type DataType, fromFloat32, toFloat32 } from "../../../runtime/checkpoint/data-type.ts";
import { decoders } from "../../../runtime/checkpoint/decode.ts";
import { createCheckpoint } from "../../../runtime/save/write.ts";
import { openCheckpoint } from "../../../runtime/load/open-checkpoint.ts";
import { parseConfig } from "../../../runtime/model/config-file.ts";
import { exportModel } from "../../../runtime/upcycle/export.ts";
import { loadModel } from "../../../runtime/load/load-model.ts";
import type { LoadedModel } from "../../../runtime/model/model.ts";
import { openWorkspace } from "../../../runtime/load/modules.ts";
import { open } from "../../../runtime/open.ts";
import { encodeFp8, encodeMxfp4 } from "../../support/encoders.ts";
import { Draw } from "../../support/random-models.ts";
import { expectFailure, withScratch } from "../checkpoint/scratch.ts";

interface Tensor {
  readonly name: string;
  readonly dtype: DataType;
  readonly shape: readonly number[];
  readonly bytes: Uint8Array;
}

type Config = Readonly<Record<string, Json>>;

/** A family's fixture with sizes that its encoding's blocks do not divide, where they need not. */
function configOf(family: string, sizes: Config): Config {
  const fixture = JSON.parse(readFileSync(`tests/fixtures/families/${family}/config.json`, "utf8")) as Config;
  const block = { quant_method: "fp8", activation_scheme: "dynamic", fmt: "e4m3", weight_block_size: [128, 128] };
  return { ...fixture, ...sizes, quantization_config: family === "gpt_oss" ? { quant_method: "mxfp4" } : block };
}

async function write(folder: string, config: Config, tensors: readonly Tensor[]): Promise<void> {
  const writer = await createCheckpoint(folder, tensors);
  for (const { name, bytes } of tensors) await writer.write(name, bytes);
  await writer.addFile("config.json", JSON.stringify(config));
  await writer.commit();
}

/** Names and shapes of a family's tensors as its map writes them, with values of every size from 2^-9 on. */
function drawTensors(
  config: Config,
  seed: number,
): readonly { name: string; shape: readonly number[]; values: Float32Array }[] {
  const file = parseConfig("config.json", JSON.stringify(config));
  const map = findMap(openWorkspace(), file);
  const model = makeModel(readConfig(map, file), map.item.span);
  const draw = new Draw(seed);
  return expandMap(map, model, null, new DiagnosticBag()).entries.map(({ tensor, shape }) => {
    const values = new Float32Array(shape.reduce((a, b) => a * b, 1)).map(
      () => (2 * draw.next() - 1) * 2 ** -draw.below(10),
    );
    return { name: tensor, shape, values };
  });
}

const bf16 = (name: string, shape: readonly number[], values: Float32Array): Tensor => ({
  name,
  dtype: "BF16",
  shape,
  bytes: fromFloat32("BF16", values),
});

interface Pair {
  readonly config: Config;
  readonly plain: readonly Tensor[];
  readonly encoded: readonly Tensor[];
}

/** Experts [N, in, out] as [N, out, in] in blocks along the last. */
function gptOss(): Pair {
  const config = configOf("gpt_oss", { hidden_size: 96, intermediate_size: 32 });
  const [plain, encoded]: [Tensor[], Tensor[]] = [[], []];
  for (const { name, shape, values } of drawTensors(config, 1)) {
    if (!/experts\.(gate_up|down)_proj$/.test(name)) {
      plain.push(bf16(name, shape, values));
      encoded.push(bf16(name, shape, values));
      continue;
    }
    const [n, a, b] = shape as [number, number, number];
    const { codes, scales, values: stored } = encodeMxfp4(turn(values, [n, a, b]));
    plain.push(bf16(name, shape, turn(stored, [n, b, a])));
    encoded.push({ name: `${name}_blocks`, dtype: "U8", shape: [n, b, a / 32, 16], bytes: codes });
    encoded.push({ name: `${name}_scales`, dtype: "U8", shape: [n, b, a / 32], bytes: scales as Uint8Array });
  }
  return { config, plain, encoded };
}

/** [n, a, b] as [n, b, a]. */
function turn(values: Float32Array, [n, a, b]: readonly [number, number, number]): Float32Array {
  const out = new Float32Array(n * a * b);
  for (let i = 0; i < n; i++)
    for (let j = 0; j < a; j++) for (let k = 0; k < b; k++) out[(i * b + k) * a + j] = values[(i * a + j) * b + k]!;
  return out;
}

function fp8(family: string, sizes: Config, scale: "F32" | "BF16"): Pair {
  const config = configOf(family, sizes);
  const round = (x: number): number => toFloat32(scale, fromFloat32(scale, Float32Array.of(x)))[0]!;
  const [plain, encoded]: [Tensor[], Tensor[]] = [[], []];
  for (const { name, shape, values } of drawTensors(config, 2)) {
    if (!/(proj|proj_with_mqa)\.weight$/.test(name)) {
      plain.push(bf16(name, shape, values));
      encoded.push(bf16(name, shape, values));
      continue;
    }
    const { codes, scales, values: stored } = encodeFp8(values, shape as [number, number], round);
    plain.push(bf16(name, shape, stored));
    encoded.push({ name, dtype: "F8_E4M3", shape, bytes: codes });
    const blocks = shape.map((n) => Math.ceil(n / 128));
    encoded.push({
      name: `${name}_scale_inv`,
      dtype: scale,
      shape: blocks,
      bytes: fromFloat32(scale, scales as Float32Array),
    });
  }
  return { config, plain, encoded };
}

const oss = gptOss();
const deepseek = fp8("deepseek_v3", { hidden_size: 140, intermediate_size: 300, moe_intermediate_size: 130 }, "F32");
const pairs: Readonly<Record<string, Pair>> = {
  "gpt_oss in mxfp4": oss,
  "deepseek_v3 in fp8": deepseek,
  "qwen3 in fp8, scales in bf16": fp8("qwen3", { hidden_size: 260, intermediate_size: 129 }, "BF16"),
};

async function withPair(
  pair: Pair,
  body: (plain: LoadedModel, encoded: LoadedModel, scratch: string) => Promise<void>,
) {
  await withScratch(async (scratch) => {
    await write(join(scratch, "plain"), pair.config, pair.plain);
    await write(join(scratch, "encoded"), pair.config, pair.encoded);
    const plain = await loadModel(join(scratch, "plain"));
    const encoded = await loadModel(join(scratch, "encoded"));
    await body(plain, encoded, scratch).finally(() =>
      Promise.all([plain.checkpoint.close(), encoded.checkpoint.close()]),
    );
  });
}

describe.each(Object.entries(pairs))("%s", (_, pair) => {
  test("every parameter is what its encoder says, whole and in pieces", async () => {
    await withPair(pair, async (plain, encoded) => {
      for (const { path, axes } of plain.model.parameters) {
        const count = axes.reduce((n, a) => n * a.size, 1);
        expect(encoded.source.storage(path)).toBe("bf16");
        const [wanted, found] = await Promise.all([plain, encoded].map((m) => m.source.read(path, 0, count)));
        expect(Buffer.compare(found!, wanted!), path).toBe(0);
        const [start, length] = [Math.floor(count / 3), Math.ceil(count / 2)];
        const piece = await encoded.source.read(path, start, length);
        expect(Buffer.compare(piece, wanted!.subarray(2 * start, 2 * (start + length))), path).toBe(0);
      }
    });
  });

  test("is exported as its values, and says no more that it is encoded", async () => {
    await withPair(pair, async (_, encoded, scratch) => {
      await exportModel(encoded, join(scratch, "out"));
      const out = await openCheckpoint(join(scratch, "out"));
      try {
        expect([...out.tensors.keys()].sort()).toEqual(pair.plain.map((t) => t.name).sort());
        for (const { name, shape, bytes } of pair.plain) {
          expect(out.tensors.get(name)).toMatchObject({ dtype: "BF16", shape });
          expect(Buffer.compare(await out.readTensor(name), bytes), name).toBe(0);
        }
        expect(out.config).not.toHaveProperty("quantization_config");
        expect(out.config).toMatchObject({ torch_dtype: "bfloat16" });
      } finally {
        await out.close();
      }
    });
  });
});

test("a device computes the same from either", async () => {
  await withPair(oss, async (_plain, _encoded, scratch) => {
    const ids = [3, 1, 4, 1, 5, 9, 2, 6];
    const logits: Float32Array[] = [];
    for (const name of ["plain", "encoded"]) {
      const session = await open(join(scratch, name), { capacity: 16 });
      logits.push((await session.forward([ids]))[0]!);
      session.close();
    }
    expect(logits[1]).toEqual(logits[0]);
    expect(logits[0]!.every(Number.isFinite)).toBe(true);
  });
});

describe("is refused, and told why", () => {
  const refuse = async (pair: Pair, code: string, ...parts: string[]): Promise<void> =>
    withScratch(async (scratch) => {
      await write(join(scratch, "model"), pair.config, pair.encoded);
      await expectFailure(loadModel(join(scratch, "model")), code, ...parts);
    });
  const change = (pair: Pair, name: string, to: (tensor: Tensor) => Tensor | null): Pair => ({
    ...pair,
    encoded: pair.encoded.flatMap((tensor) => (tensor.name === name ? (to(tensor) ?? []) : tensor)),
  });
  const gate = "model.layers.0.mlp.experts.gate_up_proj";
  const value = "model.layers.0.self_attn.o_proj.weight";

  test("scales that are missing", async () => {
    await refuse(
      change(oss, `${gate}_scales`, () => null),
      "checkpoint/missing-tensor",
      `${gate}_scales`,
    );
    await refuse(
      change(deepseek, `${value}_scale_inv`, () => null),
      "checkpoint/encoding",
      value,
      "without scales",
    );
  });

  test("blocks that are missing", async () => {
    await refuse(
      change(oss, `${gate}_blocks`, () => null),
      "checkpoint/missing-tensor",
      `${gate}_blocks`,
    );
    await refuse(
      change(deepseek, value, () => null),
      "checkpoint/missing-tensor",
      value,
    );
  });

  test("parts of another shape", async () => {
    const flat = (tensor: Tensor): Tensor => ({ ...tensor, shape: [tensor.bytes.length] });
    await refuse(change(oss, `${gate}_blocks`, flat), "checkpoint/shape", `${gate}_blocks`, "[6, 64, 3, 16]");
    const one = (t: Tensor): Tensor => ({ ...t, shape: [1, 1], bytes: t.bytes.slice(0, 4) });
    await refuse(change(deepseek, `${value}_scale_inv`, one), "checkpoint/shape", "[2, 1]");
  });

  test("parts of another type", async () => {
    const signed = (tensor: Tensor): Tensor => ({ ...tensor, dtype: "I8" });
    await refuse(change(oss, `${gate}_scales`, signed), "checkpoint/encoding", "is I8", "U8");
  });

  test("sizes that are not made of blocks", async () => {
    const config = configOf("gpt_oss", { hidden_size: 96, intermediate_size: 33 });
    const encoded = drawTensors(config, 3).flatMap(({ name, shape, values }): Tensor[] => {
      if (!/experts\.(gate_up|down)_proj$/.test(name)) return [bf16(name, shape, values)];
      const [n, a, b] = shape as [number, number, number];
      const scales = [n, b, Math.ceil(a / 32)];
      const count = scales.reduce((x, y) => x * y, 1);
      return [
        { name: `${name}_blocks`, dtype: "U8", shape: [...scales, 16], bytes: new Uint8Array(16 * count) },
        { name: `${name}_scales`, dtype: "U8", shape: scales, bytes: new Uint8Array(count) },
      ];
    });
    await refuse({ config, plain: [], encoded }, "checkpoint/encoding", "down_proj", "blocks of 32");
  });

  test("a scale that is no number", async () => {
    const pair = change(oss, `${gate}_scales`, (t) => ({
      ...t,
      bytes: t.bytes.map((x, i) => (i === 5 ? 255 : x)),
    }));
    await withScratch(async (scratch) => {
      await write(join(scratch, "model"), pair.config, pair.encoded);
      await expectFailure(open(join(scratch, "model")), "checkpoint/not-finite", "experts");
    });
  });
});

describe("decoders, by hand", () => {
  const part = (dtype: DataType, bytes: Uint8Array) => ({
    dtype,
    read: async (start: number, count: number) => {
      const width = bytes.BYTES_PER_ELEMENT * (dtype === "F32" ? 4 : 1);
      return bytes.slice(start * width, (start + count) * width);
    },
  });
  const decode = async (
    encoding: keyof typeof decoders,
    parts: readonly ReturnType<typeof part>[],
    shape: readonly number[],
    start: number,
    count: number,
  ): Promise<readonly number[]> => {
    const bits = new Uint16Array(count);
    await decoders[encoding](parts, shape, start, bits);
    return [...toFloat32("BF16", new Uint8Array(bits.buffer))];
  };

  test("mxfp4: all sixteen codes, the low half first, times a power of two", async () => {
    const codes = Uint8Array.of(0x10, 0x32, 0x54, 0x76, 0x98, 0xba, 0xdc, 0xfe, 0, 0, 0, 0, 0, 0, 0, 0x21);
    const values = [
      0,
      0.5,
      1,
      1.5,
      2,
      3,
      4,
      6,
      -0,
      -0.5,
      -1,
      -1.5,
      -2,
      -3,
      -4,
      -6,
      ...Array<number>(14).fill(0),
      0.5,
      1,
    ];
    const parts = [part("U8", Uint8Array.of(...codes, ...codes)), part("U8", Uint8Array.of(128, 0))];
    expect(await decode("mxfp4", parts, [64], 0, 32)).toEqual(values.map((x) => 2 * x));
    // The least scale, 2^-127, is exact too: bf16 has subnormals.
    expect(await decode("mxfp4", parts, [64], 33, 7)).toEqual([0.5, 1, 1.5, 2, 3, 4, 6].map((x) => x * 2 ** -127));
  });

  test("fp8: ones, the largest, the least, and a factor for each block of 128", async () => {
    const codes = new Uint8Array(2 * 130).fill(0x38);
    codes.set([0x7e, 0x01, 0xb8, 0x08], 0);
    const parts = [part("F8_E4M3", codes), part("F32", new Uint8Array(Float32Array.of(1, 0.25).buffer))];
    expect(await decode("fp8", parts, [2, 130], 0, 5)).toEqual([448, 2 ** -9, -1, 2 ** -6, 1]);
    expect(await decode("fp8", parts, [2, 130], 127, 5)).toEqual([1, 0.25, 0.25, 1, 1]);
  });
});
