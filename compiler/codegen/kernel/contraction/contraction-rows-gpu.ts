/**
 * Many rows on a GPU: the classic tiled product. A workgroup computes 64 columns of a block of rows; both operands pass
 * through workgroup memory sixteen steps of k at a time, and each invocation holds eight rows times four columns.
 * Needs no feature; f32 throughout, so it does not use tensor cores.
 */
import type { ColumnGroup, EmittedKernel, ContractionSpec, ContractionTemplate, MatrixOperand } from "./contraction.ts";
import { columnBlocks, denseRows, forEachGroup, storeRows, tiledRows } from "./places.ts";
import { loadA } from "./row-block.ts";
import { rowsFor, tuning } from "../tuning.ts";
import { readMatrix } from "./weights.ts";
import { KernelWriter } from "../writer.ts";

const { vectors: VECTORS, ownRows: OWN_ROWS, quads: QUADS } = tuning.rowsGpu;

export const contractionRowsGpu: ContractionTemplate = {
  name: "rows-gpu",
  regime: "prefill",
  suits: (spec, device) =>
    device.fastWorkgroupMemory && (spec.routing === null || spec.routing.tileRows % OWN_ROWS === 0),
  emit(spec) {
    const wanted = rowsFor(tuning.rowsGpu.rows, Math.max(...spec.groups.map((g) => g.matrices.length)));
    if (spec.routing === null) return emitTiled(spec, wanted);
    let height = Math.min(wanted, spec.routing.tileRows);
    while (spec.routing.tileRows % height !== 0) height -= OWN_ROWS;
    return emitTiled(spec, height);
  },
};

function emitTiled(spec: ContractionSpec, height: number): EmittedKernel {
  const w = new KernelWriter();
  const invocations = (VECTORS * height) / OWN_ROWS;
  const matrices = Math.max(...spec.groups.map((g) => g.matrices.length));
  // A odd stride keeps the rows that invocations store together in different banks of memory.
  const stride = height + 1;
  w.global("tile_a", `var<workgroup> tile_a: array<vec4<f32>, ${QUADS * stride}>;`);
  w.global("tile_b", `var<workgroup> tile_b: array<vec4<f32>, ${matrices * QUADS * 4 * VECTORS}>;`);
  const { total } = columnBlocks(spec, VECTORS * 4);
  const rows =
    spec.routing === null ? denseRows(w, spec, height, total) : tiledRows(w, spec, spec.routing, height, total);

  const fillA = `
for (var i = lane; i < ${QUADS * height}u; i += ${invocations}u) {
  let quad = i % ${QUADS}u;
  let k = k0 + quad * 4u;
  let a_row = ${rows.aRow(`min(i / ${QUADS}u, ${rows.count} - 1u)`)};
  var value = vec4<f32>();
  if (k < ${spec.k}u) { value = ${loadA(w, spec, "a_row", "k")}; }
  tile_a[quad * ${stride}u + i / ${QUADS}u] = value;
}`;
  // Past the end of k the rows of A are zero, so any weights will do there: the last ones.
  const fillB = (group: ColumnGroup, operand: MatrixOperand, m: number): string => {
    const reader = readMatrix(w, spec, group, operand);
    const place = { bank: rows.bank, k: "k", vector: "column" };
    // Neighbouring invocations read what lies side by side.
    const [quad, vector] = operand.transposed
      ? [`i % ${QUADS}u`, `i / ${QUADS}u`]
      : [`i / ${VECTORS}u`, `i % ${VECTORS}u`];
    return `
for (var i = lane; i < ${QUADS * VECTORS}u; i += ${invocations}u) {
  let quad = ${quad};
  let vector = ${vector};
  let k = min(k0 + quad * 4u, ${(Math.ceil(spec.k / 4) - 1) * 4}u);
  let column = min((block_column / 4u) + vector, ${Math.ceil(group.cols / 4) - 1}u);
  let at = ${reader.indexOf(place)};
  ${reader.load(place, "at", "b")}
  let to = ${m * QUADS * 4 * VECTORS}u + quad * ${4 * VECTORS}u + vector;
  ${[0, 1, 2, 3].map((j) => `tile_b[to + ${j * VECTORS}u] = b${j};`).join("\n  ")}
}`;
  };
  const body = forEachGroup(
    spec,
    VECTORS * 4,
    (block) => `(${block} * ${VECTORS}u + lane % ${VECTORS}u) * 4u`,
    (group) => {
      const sums = group.matrices.map(() => Array.from({ length: OWN_ROWS }, () => w.fresh("sum")));
      const step = sums.map(
        (own, m) => `{
${[0, 1, 2, 3].map((j) => `let b${j} = tile_b[${m * QUADS * 4 * VECTORS}u + (quad * 4u + ${j}u) * ${VECTORS}u + lane % ${VECTORS}u];`).join("\n")}
${own.map((s, r) => `${s} = ${["x", "y", "z", "w"].reduce((sum, c, j) => `fma(vec4<f32>(a${r}.${c}), b${j}, ${sum})`, s)};`).join("\n")}
}`,
      );
      return `let block_column = column - lane % ${VECTORS}u * 4u;
let own = lane / ${VECTORS}u * ${OWN_ROWS}u;
${sums
  .flat()
  .map((s) => `var ${s} = vec4<f32>();`)
  .join("\n")}
for (var k0 = 0u; k0 < ${spec.k}u; k0 += ${QUADS * 4}u) {
${fillA}
${group.matrices.map((operand, m) => fillB(group, operand, m)).join("")}
workgroupBarrier();
for (var quad = 0u; quad < ${QUADS}u; quad++) {
${sums[0]?.map((_, r) => `let a${r} = tile_a[quad * ${stride}u + own + ${r}u];`).join("\n")}
${step.join("\n")}
}
workgroupBarrier();
}
${storeRows(w, group, rows, sums, "own")}`;
    },
  );
  const module = w.finish(spec.id, [invocations, 1, 1], `${rows.text}\n${body}`);
  return { module, grid: [rows.grid, 1, 1], bindings: w.bindings, constants: w.constants };
}
