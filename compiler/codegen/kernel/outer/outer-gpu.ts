/**
 * Products over tokens on a GPU: tiles of both sides pass through workgroup memory some tokens at a time, and each invocation holds a few
 * rows times four columns. A result of few tiles leaves multiprocessors without work, so the tokens are divided too: every part leaves its
 * sums, and a second dispatch adds them up, always in the same order. Needs no feature.
 */
import type { EmittedKernel } from "../contraction/contraction.ts";
import { storeRow, storeRows } from "../contraction/places.ts";
import { tuning } from "../tuning.ts";
import { KernelWriter } from "../writer.ts";
import type { OuterSpec, OuterTemplate } from "./outer.ts";
import { loadSide, outerBlock } from "./outer.ts";

const { vectors: VECTORS, ownRows: OWN_ROWS, tokens: TOKENS } = tuning.outerGpu;
/** Rows, and columns, of a tile. */
const SIDE = 4 * VECTORS;
const INVOCATIONS = (VECTORS * SIDE) / OWN_ROWS;
const { invocations: ENDING } = tuning.map;

export const outerGpu: OuterTemplate = {
  name: "outer-gpu",
  suits: (_, device) => device.fastWorkgroupMemory,
  emit(spec) {
    const { workgroups, parts: most } = tuning.outerGpu;
    const tiles = Math.ceil(spec.k / SIDE) * Math.ceil(spec.n / SIDE);
    const parts = spec.groups === null ? Math.max(1, Math.min(most, Math.floor(workgroups / tiles))) : 1;
    return parts === 1 ? [emitTiled(spec, 1)] : [emitTiled(spec, parts), emitTotal(spec, parts)];
  },
};

function emitTiled(spec: OuterSpec, parts: number): EmittedKernel {
  const w = new KernelWriter();
  const block = outerBlock(w, spec, SIDE, SIDE, parts);
  w.global("tile_left", `var<workgroup> tile_left: array<vec4<f32>, ${TOKENS * VECTORS}>;`);
  w.global("tile_right", `var<workgroup> tile_right: array<vec4<f32>, ${TOKENS * VECTORS}>;`);
  const sums = Array.from({ length: OWN_ROWS }, () => w.fresh("sum"));
  // Past the last token the left side is zero, so any right side will do there: the last one.
  const fill = `for (var i = lane; i < ${TOKENS * VECTORS}u; i += ${INVOCATIONS}u) {
let t = t0 + i / ${VECTORS}u;
let token = ${block.token("min(t, count - 1u)")};
let place = i % ${VECTORS}u * 4u;
tile_left[i] = select(vec4<f32>(), ${loadSide(w, spec.left, spec.k, "token", "(first_k + place)")}, t < end);
tile_right[i] = ${loadSide(w, spec.right, spec.n, "token", "(first_n + place)")};
}`;
  const multiply = sums.map((s, r) => `${s} = fma(vec4<f32>(left${r >> 2}.${"xyzw"[r % 4]}), right, ${s});`);
  const result = { cols: spec.n, matrices: [], store: spec.store };
  const rows = {
    text: "",
    count: `min(${SIDE}u, ${spec.k}u - first_k)`,
    row: (i: string) => block.row(`first_k + ${i}`),
    aRow: (i: string) => i,
    bank: null,
    grid: 1,
  };
  const text = `${block.text}
let length = (count + ${parts * TOKENS - 1}u) / ${parts * TOKENS}u * ${TOKENS}u;
let start = min(part * length, count);
let end = min(start + length, count);
let column = first_n + lane % ${VECTORS}u * 4u;
let own = lane / ${VECTORS}u * ${OWN_ROWS}u;
${sums.map((s) => `var ${s} = vec4<f32>();`).join("\n")}
for (var t0 = start; t0 < end; t0 += ${TOKENS}u) {
${fill}
workgroupBarrier();
for (var t = 0u; t < ${TOKENS}u; t++) {
let right = tile_right[t * ${VECTORS}u + lane % ${VECTORS}u];
let left0 = tile_left[t * ${VECTORS}u + own / 4u];
let left1 = tile_left[t * ${VECTORS}u + own / 4u + 1u];
${multiply.join("\n")}
}
workgroupBarrier();
}
${parts === 1 ? storeRows(w, result, rows, [sums], "own") : storePart(w, spec, sums, parts)}`;
  const module = w.finish(spec.id, [INVOCATIONS, 1, 1], text);
  return { module, grid: [block.workgroups, 1, 1], bindings: w.bindings, constants: w.constants };
}

/** Vectors of a row of partial sums, which are [part][k][n]. */
const across = (spec: OuterSpec): number => Math.ceil(spec.n / 4);

function partialOf(w: KernelWriter, spec: OuterSpec, parts: number, access: "read" | "write"): string {
  return w.bind(spec.partial(4 * parts * spec.k * across(spec)), "array<vec4<f32>>", access);
}

function storePart(w: KernelWriter, spec: OuterSpec, sums: readonly string[], parts: number): string {
  const partial = partialOf(w, spec, parts, "write");
  const at = (r: number): string => `(part * ${spec.k}u + first_k + own + ${r}u) * ${across(spec)}u + column / 4u`;
  const rows = sums.map((s, r) => `if (first_k + own + ${r}u < ${spec.k}u) { ${partial}[${at(r)}] = ${s}; }`);
  return `if (column < ${spec.n}u) {\n${rows.join("\n")}\n}`;
}

function emitTotal(spec: OuterSpec, parts: number): EmittedKernel {
  const w = new KernelWriter();
  const partial = partialOf(w, spec, parts, "read");
  const vectors = spec.k * across(spec);
  const result = { cols: spec.n, matrices: [], store: spec.store };
  const text = `let at = group * ${ENDING}u + lane;
if (at >= ${vectors}u) { return; }
let column = at % ${across(spec)}u * 4u;
var total = vec4<f32>();
for (var part = 0u; part < ${parts}u * once; part++) { total += ${partial}[part * ${vectors}u + at]; }
${storeRow(w, result, `(at / ${across(spec)}u)`, ["total"])}`;
  const module = w.finish(`${spec.id}.total`, [ENDING, 1, 1], text);
  return { module, grid: [Math.ceil(vectors / ENDING), 1, 1], bindings: w.bindings, constants: w.constants };
}
