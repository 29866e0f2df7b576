/** The delta rule token by token: an invocation holds one column of the memory. For decoding, where there is one token. */
import { openDelta, type DeltaTemplate } from "./delta.ts";
import { KernelWriter } from "./writer.ts";

const COLUMNS = 32;

export const deltaRecurrent: DeltaTemplate = {
  name: "delta-recurrent",
  suits: () => true,
  emit(spec) {
    const w = new KernelWriter();
    const { channels, values } = spec;
    const held = w.bind(spec.memory, "array<f32>", "write");
    const { text, blocks } = openDelta(w, spec, COLUMNS);
    const body = `${text}
let value = column + lane;
if (value >= ${values}u) { return; }
var memory: array<f32, ${channels}>;
for (var c = 0u; c < ${channels}u * once; c++) { memory[c] = ${held}[memory_at + c * ${values}u + value]; }
for (var i = 0u; i < tokens; i++) {
  let token = start + i;
  var found = 0.0;
  for (var c = 0u; c < ${channels}u * once; c++) { found = fma(memory[c], ${spec.k(w, "token", "head", "c")}, found); }
  let change = ${spec.beta(w, "token", "head")} * (${spec.v(w, "token", "head", "value")} - found);
  var result = 0.0;
  for (var c = 0u; c < ${channels}u * once; c++) {
    let kept = fma(change, ${spec.k(w, "token", "head", "c")}, memory[c]);
    memory[c] = kept;
    result = fma(kept, ${spec.q(w, "token", "head", "c")}, result);
  }
  ${spec.store(w, "token", "head", "value", "result")}
}
for (var c = 0u; c < ${channels}u * once; c++) { ${held}[memory_at + c * ${values}u + value] = memory[c]; }`;
    const module = w.finish(spec.id, [COLUMNS, 1, 1], body);
    const grid = [["*", "S", spec.heads * blocks], 1, 1] as const;
    return { module, grid, bindings: w.bindings, constants: w.constants };
  },
};
