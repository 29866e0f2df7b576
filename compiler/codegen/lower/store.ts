/** Writing a computed value where its store goes: a node's buffer, or the place of a token's row in a state. */
import type { Axis } from "../../graph/type.ts";
import { TIME } from "../../graph/type.ts";
import { writerOf } from "../kernel/stored.ts";
import type { KernelWriter } from "../kernel/writer.ts";
import type { StateRows } from "../../ops/define.ts";
import { type NamedState, rowWidth } from "../../ops/states.ts";
import type { StoreType } from "../../plan/store.ts";
import type { KeptPlace, Store } from "../schedule/kernel.ts";
import type { LowerContext } from "./context.ts";
import type { Emitter } from "./emit.ts";
import type { Index, Run } from "./indexing.ts";
import { at, flatten, hasRuns, shift } from "./indexing.ts";
import { flattenIn, innerOf, type Memory } from "./place.ts";
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
  const { state, kept } = store;
  if (kept !== null) return emitKept(e, context, store, kept, index, run, value);
  // A state's rows lie by themselves, each in the order of the node's other axes.
  const axes = state === null ? store.node.type.axes : store.node.type.axes.filter((a) => a.name !== TIME);
  const { dtype } = store.node.type;
  const whole = run !== null && axes.at(-1)?.name === run && hasRuns(store.node.type, run);
  const target = context.targetOf(store);
  const type =
    state !== null ? storeOf(state, context.cache) : dtype === "f32" ? memory.storeOf(target) : memoryType(dtype);
  const put = writerOf(e.w, target, type, whole ? 4 : 1);
  const place = state === null ? null : placeInState(e, context, memory, state, axes, index);
  const write = (i: Index, v: string): void => {
    const flat = place === null ? flatten(axes, i, e.w.size) : `${place.start} + ${flatten(axes, i, e.w.size)}`;
    const text = put(whole ? `(${flat}) / 4u` : flat, toMemory(v, dtype, whole ? run : null));
    e.line(place === null || place.condition === null ? text : `if (${place.condition}) { ${text} }`);
  };
  if (run === null || whole) write(index, value);
  else for (const [lane, field] of FIELDS.entries()) write(shift(index, run, lane), `${value}.${field}`);
}

/** Adds to or replaces elements of a kept buffer, which lies as a parameter does. */
function emitKept(
  e: Emitter,
  context: LowerContext,
  store: Store,
  kept: KeptPlace,
  index: Index,
  run: Run,
  value: string,
): void {
  const inner = innerOf(kept);
  const whole = run !== null && inner === run && hasRuns(store.node.type, run);
  const name = e.w.bind(context.targetOf(store), `array<${typeText("f32", whole ? run : null)}>`, "write");
  const write = (i: Index, v: string): void => {
    const flat = flattenIn(kept, i, e.w.size);
    const place = `${name}[${whole ? `(${flat}) / 4u` : flat}]`;
    if (!kept.adds) return e.line(`${place} = ${v};`);
    const at = e.name(whole ? `(${flat}) / 4u` : flat);
    e.line(`${name}[${at}] = ${name}[${at}] + ${v};`);
  };
  if (run === null || whole) write(index, value);
  else for (const [lane, field] of FIELDS.entries()) write(shift(index, run, lane), `${value}.${field}`);
}

/** Slot and position of the token say where its row is; of the last rows, only those that no later token of the step replaces are kept. */
function placeInState(
  e: Emitter,
  context: LowerContext,
  memory: Memory,
  { row, rows }: NamedState,
  axes: readonly Axis[],
  index: Index,
): { readonly start: string; readonly condition: string | null } {
  const t = at(index, TIME);
  const slot = e.w.bind(memory.builtin("slot"), "array<u32>", "read");
  const position = e.w.bind(memory.builtin("position"), "array<u32>", "read");
  const ring = rowsText(e.w, rows, context.stepTokens);
  const place = e.name(`${slot}[${t}] * ${ring} + ${position}[${t}] % ${ring}`);
  if (rows.kind === "positions") return { start: `${place} * ${rowWidth(axes)}u`, condition: null };
  const next = e.name(`min(${t} + ${rows.count}u, ${e.w.step("T")} - 1u)`);
  const condition = e.name(`(${t} + ${rows.count}u >= ${e.w.step("T")} || ${slot}[${next}] != ${slot}[${t}])`);
  return { start: `${place} * ${rowWidth(row)}u`, condition };
}

/** How many rows a state holds of one sequence, as WGSL. */
export function rowsText(w: KernelWriter, rows: StateRows, stepTokens: number | null): string {
  if (rows.kind === "last") return `${rows.count}u`;
  return rows.reach === null || stepTokens === null ? w.step("P") : `min(${w.step("P")}, ${rows.reach + stepTokens}u)`;
}

/**
 * What a state is kept as, where rows that a position each has are kept as `cache`. Recurrences and delays, of which little is kept and much
 * is made, stay f32; so does a row of an odd number of elements, which would share a word with the next sequence's.
 */
export function storeOf({ row, rows }: Pick<NamedState, "row" | "rows">, cache: StoreType): StoreType {
  return rows.kind === "positions" && rowWidth(row) % 2 === 0 ? cache : "f32";
}
