/** The delta rule token by token: an invocation holds one column of the memory. For decoding, where there is one token. */
import { openDelta, tokenAt, type DeltaTemplate } from "./delta.ts";
import { tuning } from "../tuning.ts";
import { KernelWriter } from "../writer.ts";

const { columns: COLUMNS } = tuning.deltaRecurrent;

export const deltaRecurrent: DeltaTemplate = {
  name: "delta-recurrent",
  suits: () => true,
  emit(spec) {
    const w = new KernelWriter();
    const { channels, values } = spec;
    const held = spec.memory === null ? null : w.bind(spec.memory, "array<f32>", "write");
    const error = spec.part === "error";
    const { text, blocks } = openDelta(w, spec, COLUMNS);
    const body = `${text}
let value = column + lane;
if (value >= ${values}u) { return; }
var memory: array<f32, ${channels}>;
${held === null ? "" : `for (var c = 0u; c < ${channels}u * once; c++) { memory[c] = ${held}[memory_at + c * ${values}u + value]; }`}
for (var i = 0u; i < tokens; i++) {
  let token = ${tokenAt(spec, "i")};
  var found = 0.0;
  for (var c = 0u; c < ${channels}u * once; c++) { found = fma(memory[c], ${spec.k(w, "token", "head", "c")}, found); }
  let error = ${spec.v(w, "token", "head", "value")} - found;
  let change = ${spec.beta(w, "token", "head")} * error;
  var result = ${error ? "error" : "0.0"};
  for (var c = 0u; c < ${channels}u * once; c++) {
    let kept = fma(change, ${spec.k(w, "token", "head", "c")}, memory[c]);
    memory[c] = kept;
    ${error ? "" : `result = fma(kept, ${spec.q(w, "token", "head", "c")}, result);`}
  }
  ${spec.store(w, "token", "head", "value", "result")}
}
${held === null ? "" : `for (var c = 0u; c < ${channels}u * once; c++) { ${held}[memory_at + c * ${values}u + value] = memory[c]; }`}`;
    const module = w.finish(spec.id, [COLUMNS, 1, 1], body);
    const grid = [["*", "S", spec.heads * blocks], 1, 1] as const;
    return { module, grid, bindings: w.bindings, constants: w.constants };
  },
};
