/**
 * Writes the mixture of experts as GGUF 3 for llama.cpp, with random weights and a vocabulary of made-up words. Layout:
 * https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
 */
import { writeFileSync } from "node:fs";
import { moeShape as shape, weightRange } from "./moe-shape.ts";
import { RandomWeights } from "./random.ts";

export type GgufFormat = "f32" | "f16" | "q8_0";

/** ggml's numbers for the kinds of tensors. */
const tensorKinds: Readonly<Record<GgufFormat, number>> = { f32: 0, f16: 1, q8_0: 8 };
/** `general.file_type`, numbered on its own. */
const fileKinds: Readonly<Record<GgufFormat, number>> = { f32: 0, f16: 1, q8_0: 7 };
const valueKinds = { u32: 4, i32: 5, f32: 6, text: 8, list: 9 } as const;
const alignment = 32;
/** llama.cpp knows models by the names of their architectures; this one has all the parts of the shape. */
const architecture = "qwen3moe";

interface Tensor {
  readonly name: string;
  /** Fastest axis first, as GGUF has it. */
  readonly dims: readonly number[];
  readonly format: GgufFormat;
  readonly data: Buffer;
}

/** Writes the file and returns its number of parameters. */
export function writeGguf(path: string, format: GgufFormat): number {
  const tensors = makeTensors(format);
  const metadata = makeMetadata(format);
  let offset = 0;
  const infos = tensors.map(({ name, dims, format: own, data }) => {
    const info = [text(name), u32(dims.length), ...dims.map(u64), u32(tensorKinds[own]), u64(offset)];
    offset += data.length + padding(data.length);
    return Buffer.concat(info);
  });
  const head = Buffer.concat([
    Buffer.from("GGUF"),
    u32(3),
    u64(tensors.length),
    u64(metadata.length),
    ...metadata,
    ...infos,
  ]);
  const body = tensors.flatMap(({ data }) => [data, Buffer.alloc(padding(data.length))]);
  writeFileSync(path, Buffer.concat([head, Buffer.alloc(padding(head.length)), ...body]));
  return tensors.reduce((sum, { dims }) => sum + dims.reduce((a, b) => a * b), 0);
}

function makeTensors(format: GgufFormat): Tensor[] {
  const { hidden, layers, heads, kvHeads, headSize, experts, expertWidth, vocabulary } = shape;
  const random = new RandomWeights();
  const matrix = (name: string, dims: readonly number[], range = weightRange(dims[0] ?? 1), own = format): Tensor => {
    const values = random.floats(
      dims.reduce((a, b) => a * b),
      range,
    );
    return { name, dims, format: own, data: encode(values, own) };
  };
  const ones = (name: string, size: number): Tensor => {
    return { name, dims: [size], format: "f32", data: encode(new Float32Array(size).fill(1), "f32") };
  };
  const blocks = Array.from({ length: layers }, (_, l) => `blk.${l}.`).flatMap((block) => [
    ones(`${block}attn_norm.weight`, hidden),
    matrix(`${block}attn_q.weight`, [hidden, heads * headSize]),
    matrix(`${block}attn_k.weight`, [hidden, kvHeads * headSize]),
    matrix(`${block}attn_v.weight`, [hidden, kvHeads * headSize]),
    matrix(`${block}attn_output.weight`, [heads * headSize, hidden]),
    ones(`${block}attn_q_norm.weight`, headSize),
    ones(`${block}attn_k_norm.weight`, headSize),
    ones(`${block}ffn_norm.weight`, hidden),
    // Routers stay in full precision, as llama.cpp's own converter leaves them.
    matrix(`${block}ffn_gate_inp.weight`, [hidden, experts], weightRange(hidden), "f32"),
    matrix(`${block}ffn_gate_exps.weight`, [hidden, expertWidth, experts]),
    matrix(`${block}ffn_up_exps.weight`, [hidden, expertWidth, experts]),
    matrix(`${block}ffn_down_exps.weight`, [expertWidth, hidden, experts]),
  ]);
  const embedding = matrix("token_embd.weight", [hidden, vocabulary], 2);
  return [embedding, ...blocks, ones("output_norm.weight", hidden), matrix("output.weight", [hidden, vocabulary])];
}

function makeMetadata(format: GgufFormat): Buffer[] {
  const sizes = {
    block_count: shape.layers,
    context_length: shape.context,
    embedding_length: shape.hidden,
    feed_forward_length: shape.expertWidth,
    "attention.head_count": shape.heads,
    "attention.head_count_kv": shape.kvHeads,
    "attention.key_length": shape.headSize,
    "attention.value_length": shape.headSize,
    expert_count: shape.experts,
    expert_used_count: shape.chosen,
    expert_feed_forward_length: shape.expertWidth,
  };
  const words = makeVocabulary();
  const list = (key: string, kind: number, values: readonly Buffer[]) =>
    entry(key, valueKinds.list, Buffer.concat([u32(kind), u64(values.length), ...values]));
  return [
    entry("general.architecture", valueKinds.text, text(architecture)),
    entry("general.name", valueKinds.text, text("random mixture of experts")),
    entry("general.file_type", valueKinds.u32, u32(fileKinds[format])),
    ...Object.entries(sizes).map(([key, value]) => entry(`${architecture}.${key}`, valueKinds.u32, u32(value))),
    entry(`${architecture}.attention.layer_norm_rms_epsilon`, valueKinds.f32, f32(shape.epsilon)),
    entry(`${architecture}.rope.freq_base`, valueKinds.f32, f32(shape.theta)),
    entry("tokenizer.ggml.model", valueKinds.text, text("llama")),
    list(
      "tokenizer.ggml.tokens",
      valueKinds.text,
      words.map(({ word }) => text(word)),
    ),
    list(
      "tokenizer.ggml.scores",
      valueKinds.f32,
      words.map((_, i) => f32(-i)),
    ),
    list(
      "tokenizer.ggml.token_type",
      valueKinds.i32,
      words.map(({ kind }) => u32(kind)),
    ),
    entry("tokenizer.ggml.unknown_token_id", valueKinds.u32, u32(0)),
    entry("tokenizer.ggml.bos_token_id", valueKinds.u32, u32(1)),
    entry("tokenizer.ggml.eos_token_id", valueKinds.u32, u32(2)),
  ];
}

/** A SentencePiece vocabulary must have its special tokens and all bytes; the rest may be anything. */
function makeVocabulary(): { word: string; kind: number }[] {
  const kinds = { normal: 1, unknown: 2, control: 3, byte: 6 };
  const bytes = Array.from({ length: 256 }, (_, i) => `<0x${i.toString(16).toUpperCase().padStart(2, "0")}>`);
  const special = [
    { word: "<unk>", kind: kinds.unknown },
    { word: "<s>", kind: kinds.control },
    { word: "</s>", kind: kinds.control },
    ...bytes.map((word) => ({ word, kind: kinds.byte })),
  ];
  const rest = Array.from({ length: shape.vocabulary - special.length }, (_, i) => ({
    word: `\u2581t${i}`,
    kind: kinds.normal,
  }));
  return [...special, ...rest];
}

function encode(values: Float32Array, format: GgufFormat): Buffer {
  switch (format) {
    case "f32":
      return Buffer.from(values.buffer);
    case "f16":
      return Buffer.from(Uint16Array.from(values, toHalf).buffer);
    case "q8_0":
      return encodeQ8(values);
    default:
      return format satisfies never;
  }
}

/** Blocks of 32: a half-precision scale, then 32 signed bytes. */
function encodeQ8(values: Float32Array): Buffer {
  const out = Buffer.alloc((values.length / 32) * 34);
  for (let block = 0; block < values.length / 32; block++) {
    const part = values.subarray(block * 32, block * 32 + 32);
    const scale = part.reduce((largest, v) => Math.max(largest, Math.abs(v)), 0) / 127;
    out.writeUInt16LE(toHalf(scale), block * 34);
    part.forEach((v, i) => out.writeInt8(scale === 0 ? 0 : Math.round(v / scale), block * 34 + 2 + i));
  }
  return out;
}

const float = new Float32Array(1);
const bits = new Uint32Array(float.buffer);

/** Rounds half up, flushes what is under the smallest half to zero; infinity stays. */
function toHalf(value: number): number {
  float[0] = value;
  const word = bits[0] ?? 0;
  const sign = (word >>> 16) & 0x8000;
  const exponent = ((word >>> 23) & 255) - 112;
  const mantissa = word & 0x7fffff;
  if (exponent >= 31) return sign | 0x7c00;
  if (exponent > 0) return sign + ((exponent << 10) + ((mantissa + 0x1000) >> 13));
  if (exponent < -10) return sign;
  const shift = 14 - exponent;
  return sign | (((mantissa | 0x800000) + (1 << (shift - 1))) >> shift);
}

function entry(key: string, kind: number, value: Buffer): Buffer {
  return Buffer.concat([text(key), u32(kind), value]);
}

function text(value: string): Buffer {
  const bytes = Buffer.from(value);
  return Buffer.concat([u64(bytes.length), bytes]);
}

function u32(value: number): Buffer {
  return Buffer.from(Uint32Array.of(value).buffer);
}

function u64(value: number): Buffer {
  return Buffer.from(BigUint64Array.of(BigInt(value)).buffer);
}

function f32(value: number): Buffer {
  return Buffer.from(Float32Array.of(value).buffer);
}

function padding(length: number): number {
  return (alignment - (length % alignment)) % alignment;
}
