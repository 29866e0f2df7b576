/** Writing a computed value where its store goes: a node's buffer, or the place of a token in a state. */
import type { Axis } from "../graph/type.ts";
import { TIME } from "../graph/type.ts";
import type { Store } from "../schedule/kernel.ts";
import type { LowerContext } from "./context.ts";
import type { Emitter } from "./emit.ts";
import type { Index, Run } from "./index.ts";
import { at, flatten, hasRuns, shift } from "./index.ts";
import type { Memory } from "./place.ts";
import { FIELDS, memoryType, toMemory, typeText } from "./text.ts";

/** Emits the store of `value` (a vec4 along `run`) at `index`. */
export function emitStore(
  e: Emitter,
  context: LowerContext,
  memory: Memory,
  store: Store,
  index: Index,
  run: Run,
  value: string,
): void {
  const axes = storedAxes(store);
  const { dtype } = store.node.type;
  const whole = run !== null && axes.at(-1)?.name === run && hasRuns(store.node.type, run);
  const name = e.w.bind(context.targetOf(store), `array<${typeText(memoryType(dtype), whole ? run : null)}>`, "write");
  const write = (i: Index, v: string): void => {
    const flat = store.state === null ? flatten(axes, i) : placeInState(e, memory, store, axes, i);
    e.line(`${name}[${whole ? `(${flat}) / 4u` : flat}] = ${toMemory(v, dtype, whole ? run : null)};`);
  };
  if (run === null || whole) write(index, value);
  else for (const [lane, field] of FIELDS.entries()) write(shift(index, run, lane), `${value}.${field}`);
}

/** Axes of the element order in memory: a state has its time first. */
function storedAxes(store: Store): readonly Axis[] {
  const { axes } = store.node.type;
  return store.state === null ? axes : axes.filter((a) => a.name !== TIME);
}

/** Slot and position of the token say where its row is; positions wrap around at what the state holds. */
function placeInState(e: Emitter, memory: Memory, store: Store, axes: readonly Axis[], index: Index): string {
  const t = at(index, TIME);
  const slot = e.w.bind(memory.builtin("slot"), "array<u32>", "read");
  const position = e.w.bind(memory.builtin("position"), "array<u32>", "read");
  const ring = e.w.step("P");
  const row = e.name(`${slot}[${t}] * ${ring} + ${position}[${t}] % ${ring}`);
  const width = axes.reduce((n, a) => n * (a.size.value ?? Number.NaN), 1);
  return `${row} * ${width}u + ${flatten(axes, index)}`;
}
