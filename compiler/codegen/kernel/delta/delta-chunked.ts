/**
 * The delta rule a chunk of tokens at a time, in the WY form: what the tokens of a chunk write, D, solves a unit triangular system in
 * their keys, D_i = β_i (v_i - S k_i - Σ_{j<i} (k_i · k_j) D_j); then o_i = S q_i + Σ_{j≤i} (q_i · k_j) D_j, and S grows by Σ D_i k_iᵀ.
 * All but the substitution are matrix products over tokens and columns. Yang et al. (2024), arXiv 2406.06484. A workgroup has a block
 * of the memory's columns; keys, queries, the block and the products lie in its memory.
 */
import type { DeviceFacts } from "../../../plan/plan.ts";
import { openDelta, tokenAt, type DeltaSpec, type DeltaTemplate } from "./delta.ts";
import { tuning } from "../tuning.ts";
import { KernelWriter } from "../writer.ts";

const { invocations: LANES } = tuning.deltaChunked;

interface Tile {
  readonly tokens: number;
  readonly columns: number;
}

export const deltaChunked: DeltaTemplate = {
  name: "delta-chunked",
  suits: (spec, regime, device) => regime === "prefill" && chooseTile(spec, device) !== null,
  emit(spec, device) {
    const tile = chooseTile(spec, device);
    if (tile === null) throw new Error(`${spec.id}: ${spec.channels} channels do not fit into workgroup memory`);
    const w = new KernelWriter();
    const { channels, values } = spec;
    const { tokens: n, columns } = tile;
    const held = spec.memory === null ? null : w.bind(spec.memory, "array<f32>", "write");
    // Errors are what is written before a share of it is taken; nothing is read for them.
    const error = spec.part === "error";
    const { text, blocks } = openDelta(w, spec, columns);
    w.global(
      "shared",
      `var<workgroup> keys: array<f32, ${n * channels}>;
${error ? "" : `var<workgroup> queries: array<f32, ${n * channels}>;`}
var<workgroup> memory: array<f32, ${channels * columns}>;
var<workgroup> writes: array<f32, ${n * columns}>;
var<workgroup> among_keys: array<f32, ${n * n}>;
${error ? "" : `var<workgroup> with_queries: array<f32, ${n * n}>;`}
var<workgroup> betas: array<f32, ${n}>;`,
    );
    const each = (count: number, body: string): string =>
      `for (var x = lane; x < ${count}u; x += ${LANES}u) {\n${body}\n}`;
    const storeAt = (at: string, result: string): string => `if (i < length && column + ${at} < ${values}u) {
let token = ${tokenAt(spec, "base + i")};
let value = column + ${at};
${spec.store(w, "token", "head", "value", result)}
}`;
    const place = `let c = x / ${columns}u;
let value = column + x % ${columns}u;`;
    const body = `${text}
${each(
  channels * columns,
  held === null
    ? "memory[x] = 0.0;"
    : `${place}
memory[x] = select(0.0, ${held}[memory_at + c * ${values}u + min(value, ${values - 1}u)], value < ${values}u);`,
)}
for (var base = 0u; base < tokens; base += ${n}u) {
let length = min(${n}u, tokens - base);
${each(
  n * channels,
  `let i = x / ${channels}u;
let c = x % ${channels}u;
let token = ${tokenAt(spec, "base + min(i, length - 1u)")};
keys[x] = select(0.0, ${spec.k(w, "token", "head", "c")}, i < length);
${error ? "" : `queries[x] = select(0.0, ${spec.q(w, "token", "head", "c")}, i < length);`}`,
)}
${each(
  n,
  `let token = ${tokenAt(spec, "base + min(x, length - 1u)")};
betas[x] = select(0.0, ${spec.beta(w, "token", "head")}, x < length);`,
)}
workgroupBarrier();
${each(
  n * n,
  `let i = x / ${n}u;
let j = x % ${n}u;
var a = 0.0;
var b = 0.0;
if (j <= i) {
for (var c = 0u; c < ${channels}u * once; c++) {
let k = keys[j * ${channels}u + c];
a = fma(keys[i * ${channels}u + c], k, a);
${error ? "" : `b = fma(queries[i * ${channels}u + c], k, b);`}
}
}
among_keys[x] = a;
${error ? "" : "with_queries[x] = b;"}`,
)}
${each(
  n * columns,
  `let i = x / ${columns}u;
let at = x % ${columns}u;
let value = min(column + at, ${values - 1}u);
let token = ${tokenAt(spec, "base + min(i, length - 1u)")};
var found = 0.0;
for (var c = 0u; c < ${channels}u * once; c++) { found = fma(keys[i * ${channels}u + c], memory[c * ${columns}u + at], found); }
writes[x] = ${spec.v(w, "token", "head", "value")} - found;`,
)}
workgroupBarrier();
for (var at = lane; at < ${columns}u; at += ${LANES}u) {
for (var i = 0u; i < ${n}u * once; i++) {
var d = writes[i * ${columns}u + at];
for (var j = 0u; j < i; j++) { d = fma(-among_keys[i * ${n}u + j], writes[j * ${columns}u + at], d); }
${error ? storeAt("at", "d") : ""}
writes[i * ${columns}u + at] = betas[i] * d;
}
}
workgroupBarrier();
${
  error
    ? ""
    : `${each(
        n * columns,
        `let i = x / ${columns}u;
let at = x % ${columns}u;
var result = 0.0;
for (var c = 0u; c < ${channels}u * once; c++) { result = fma(queries[i * ${channels}u + c], memory[c * ${columns}u + at], result); }
for (var j = 0u; j <= i; j++) { result = fma(with_queries[i * ${n}u + j], writes[j * ${columns}u + at], result); }
${storeAt("at", "result")}`,
      )}
workgroupBarrier();`
}
${each(
  channels * columns,
  `let c = x / ${columns}u;
let at = x % ${columns}u;
var sum = memory[x];
for (var i = 0u; i < length; i++) { sum = fma(keys[i * ${channels}u + c], writes[i * ${columns}u + at], sum); }
memory[x] = sum;`,
)}
workgroupBarrier();
}
${
  held === null
    ? ""
    : each(
        channels * columns,
        `${place}
if (value < ${values}u) { ${held}[memory_at + c * ${values}u + value] = memory[x]; }`,
      )
}`;
    const module = w.finish(spec.id, [LANES, 1, 1], body);
    const grid = [["*", "S", spec.heads * blocks], 1, 1] as const;
    return { module, grid, bindings: w.bindings, constants: w.constants };
  },
};

/** Tokens of a chunk and columns of a block that fit into workgroup memory; null when not even the smallest do. */
function chooseTile({ channels, values }: DeltaSpec, device: DeviceFacts): Tile | null {
  const bytes = ({ tokens, columns }: Tile): number =>
    4 * (2 * tokens * channels + channels * columns + tokens * columns + 2 * tokens * tokens + tokens);
  const most = tuning.deltaChunked;
  const widest = 2 ** Math.ceil(Math.log2(Math.min(values, most.columns)));
  for (let tokens: number = most.tokens; tokens >= most.leastTokens; tokens /= 2)
    for (let columns = widest; columns >= Math.min(widest, most.leastColumns); columns /= 2)
      if (bytes({ tokens, columns }) <= device.workgroupMemory) return { tokens, columns };
  return null;
}
