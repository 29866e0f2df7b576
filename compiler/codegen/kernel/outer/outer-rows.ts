/**
 * Products over tokens in registers: an invocation owns four columns of a block of rows. On a software adapter a workgroup is one subgroup
 * whose lanes share the left side by broadcast: in a round of four tokens, lane i loads four rows at token i & 3, so that a load serves all
 * columns; the loop is as heavy in loads as that of the forward product (`contraction/row-block.ts`) and as fast. Elsewhere every invocation
 * loads for itself: the last choice, and the simplest kernel to check the others against.
 */
import type { EmittedKernel } from "../contraction/contraction.ts";
import { storeRows } from "../contraction/places.ts";
import { fixedLanes, tuning } from "../tuning.ts";
import { KernelWriter } from "../writer.ts";
import type { OuterSpec, OuterTemplate } from "./outer.ts";
import { loadSide, outerBlock } from "./outer.ts";

const { tokens: ROUND } = tuning.outerSoftware;

export const outerSoftware: OuterTemplate = {
  name: "outer-software",
  suits: (_, device) => !device.fastWorkgroupMemory && fixedLanes(device) !== null,
  emit(spec, device) {
    const lanes = fixedLanes(device);
    if (lanes === null) throw new Error(`${spec.id}: needs subgroups of one size`);
    return [emitRegisters(spec, Math.max(lanes, tuning.outerSoftware.rows), lanes, lanes)];
  },
};

export const outerPlain: OuterTemplate = {
  name: "outer-plain",
  suits: () => true,
  emit: (spec) => [emitRegisters(spec, tuning.outerPlain.rows, null, tuning.outerPlain.invocations)],
};

function emitRegisters(spec: OuterSpec, height: number, lanes: number | null, invocations: number): EmittedKernel {
  const w = new KernelWriter();
  if (lanes !== null) w.feature("subgroups");
  const block = outerBlock(w, spec, height, invocations * 4);
  const sums = Array.from({ length: height }, () => w.fresh("sum"));
  const multiply = (four: string, at: number, right: string): readonly string[] =>
    ["x", "y", "z", "w"].map((f, i) => `${sums[at + i]} = fma(vec4<f32>(${four}.${f}), ${right}, ${sums[at + i]});`);
  const left = (token: string, k: string): string => loadSide(w, spec.left, spec.k, token, k);
  const quads = Array.from({ length: height / 4 }, (_, i) => i);
  // Vectors of four rows that a load of all lanes brings.
  const each = lanes === null ? 0 : lanes / ROUND;
  const loop =
    lanes === null
      ? `for (var t = 0u; t < count; t++) {
let token = ${block.token("t")};
let right = ${loadSide(w, spec.right, spec.n, "token", "column")};
${quads.map((q) => `let left${q} = ${left("token", `first_k + ${4 * q}u`)};\n${multiply(`left${q}`, 4 * q, "right").join("\n")}`).join("\n")}
}`
      : `for (var t = 0u; t < count; t += ${ROUND}u) {
let own = t + sg_lane % ${ROUND}u;
let own_token = ${block.token("min(own, count - 1u)")};
${Array.from({ length: height / 4 / each }, (_, l) => `let left${l} = select(vec4<f32>(), ${left("own_token", `first_k + (${l * each}u + sg_lane / ${ROUND}u) * 4u`)}, own < count);`).join("\n")}
${Array.from({ length: ROUND }, (_, j) => `let token${j} = ${block.token(`min(t + ${j}u, count - 1u)`)};\nlet right${j} = ${loadSide(w, spec.right, spec.n, `token${j}`, "column")};`).join("\n")}
${Array.from({ length: ROUND }, (_, j) =>
  quads
    .map((q) => {
      const lane = (q % each) * ROUND + j;
      return `let v${j}_${q} = subgroupBroadcast(left${Math.floor(q / each)}, ${lane}u);\n${multiply(`v${j}_${q}`, 4 * q, `right${j}`).join("\n")}`;
    })
    .join("\n"),
).join("\n")}
}`;
  const result = { cols: spec.n, matrices: [], store: spec.store };
  const rows = {
    text: "",
    count: `min(${height}u, ${spec.k}u - first_k)`,
    row: (i: string) => block.row(`first_k + ${i}`),
    aRow: (i: string) => i,
    bank: null,
    grid: 1,
  };
  const text = `${block.text}
let column = first_n + lane * 4u;
${sums.map((s) => `var ${s} = vec4<f32>();`).join("\n")}
${loop}
${storeRows(w, result, rows, [sums])}`;
  const module = w.finish(spec.id, [invocations, 1, 1], text);
  return { module, grid: [block.workgroups, 1, 1], bindings: w.bindings, constants: w.constants };
}
