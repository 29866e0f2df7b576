/**
 * Prepares a grouped contraction: from the bank of each choice, the choices sorted by bank (stable: ascending within a bank)
 * and the tiles, each a run of choices of one bank. A counting sort in one workgroup: every invocation counts a run of
 * consecutive choices in columns of its own, the counts are scanned bank by bank, and every invocation places its run. No
 * atomics, so the result does not depend on the order in which invocations run. Choices whose bank is >= `banks` are in no
 * tile. The counts live in workgroup memory, which bounds the invocations for many banks.
 */
import type { Binding, DeviceFacts, Size } from "../../../plan/plan.ts";
import type { EmittedKernel } from "./contraction.ts";
import { tileCount } from "./places.ts";
import { fewLanes, tuning } from "../tuning.ts";
import { KernelWriter } from "../writer.ts";

export interface GroupSpec {
  readonly id: string;
  readonly banks: number;
  readonly tileRows: number;
  /** Number of choices T * K, for the plan and in WGSL. */
  readonly choices: Size;
  readonly choiceCount: (w: KernelWriter) => string;
  /** u32 [T * K]: bank of each choice. */
  readonly index: Binding;
  /** Written: u32 [T * K]. */
  readonly order: Binding;
  /**
   * Written: vec4<u32>(bank, first, count, 0) per tile, those that are not needed with count 0, and behind them the same of each bank;
   * `tilesElements` u32 in all.
   */
  readonly tiles: Binding;
}

/** Elements (u32) of the tiles buffer. */
export function tilesElements(choices: Size, banks: number, tileRows: number): Size {
  return ["*", ["+", tileCount(choices, banks, tileRows), banks], 4];
}

/** One workgroup; throws when the counts of `banks` banks do not fit the device's workgroup memory. */
export function emitGroup(spec: GroupSpec, device: DeviceFacts): EmittedKernel {
  const w = new KernelWriter();
  const { banks, tileRows } = spec;
  const runs = chooseRuns(spec, device);
  const index = w.bind(spec.index, "array<u32>", "read");
  const order = w.bind(spec.order, "array<u32>", "write");
  const tiles = w.bind(spec.tiles, "array<vec4<u32>>", "write");
  // `offsets` first counts, bank-major, then holds where each run's next choice of a bank goes.
  w.global("offsets", `var<workgroup> offsets: array<u32, ${banks * runs}>;`);
  w.global("starts", `var<workgroup> starts: array<vec2<u32>, ${banks + 1}>;`);
  const ownChoices = (body: string): string => `
for (var choice = begin; choice < end; choice++) {
  let bank = ${index}[choice];
  if (bank < ${banks}u) {
    let at = bank * ${runs}u + lane;
    ${body}
  }
}`;
  const body = `
let choices = ${spec.choiceCount(w)};
let length = (choices + ${runs - 1}u) / ${runs}u;
let begin = min(lane * length, choices);
let end = min(begin + length, choices);
for (var bank = 0u; bank < ${banks}u; bank++) { offsets[bank * ${runs}u + lane] = 0u; }
${ownChoices("offsets[at] = offsets[at] + 1u;")}
workgroupBarrier();
for (var bank = lane; bank < ${banks}u; bank += ${runs}u) {
  var count = 0u;
  for (var run = 0u; run < ${runs}u; run++) { count += offsets[bank * ${runs}u + run]; }
  starts[bank] = vec2<u32>(count, (count + ${tileRows - 1}u) / ${tileRows}u);
}
workgroupBarrier();
if (lane == 0u) {
  var sum = vec2<u32>();
  for (var bank = 0u; bank < ${banks}u; bank++) {
    let size = starts[bank];
    starts[bank] = sum;
    sum += size;
  }
  starts[${banks}u] = sum;
}
workgroupBarrier();
for (var bank = lane; bank < ${banks}u; bank += ${runs}u) {
  let start = starts[bank];
  let next = starts[bank + 1u];
  for (var tile = start.y; tile < next.y; tile++) {
    let first = start.x + (tile - start.y) * ${tileRows}u;
    ${tiles}[tile] = vec4<u32>(bank, first, min(${tileRows}u, next.x - first), 0u);
  }
  var offset = start.x;
  for (var run = 0u; run < ${runs}u; run++) {
    let count = offsets[bank * ${runs}u + run];
    offsets[bank * ${runs}u + run] = offset;
    offset += count;
  }
}
let room = (choices + ${tileRows - 1}u) / ${tileRows}u + min(choices, ${banks}u);
for (var tile = starts[${banks}u].y + lane; tile < room; tile += ${runs}u) { ${tiles}[tile] = vec4<u32>(); }
for (var bank = lane; bank < ${banks}u; bank += ${runs}u) {
  ${tiles}[room + bank] = vec4<u32>(bank, starts[bank].x, starts[bank + 1u].x - starts[bank].x, 0u);
}
workgroupBarrier();
${ownChoices(`let to = offsets[at];
    offsets[at] = to + 1u;
    ${order}[to] = choice;`)}`;
  const module = w.finish(spec.id, [runs, 1, 1], body);
  return { module, grid: [1, 1, 1], bindings: w.bindings, constants: w.constants };
}

/** Invocations: one subgroup on few cores, where more only take turns; else as many as the counts leave room for. */
function chooseRuns(spec: GroupSpec, device: DeviceFacts): number {
  const wanted = device.manyCores ? Math.min(tuning.group.runs, device.maxInvocations) : fewLanes(device);
  const room = Math.floor(device.workgroupMemory / 4 - 2 * (spec.banks + 1)) / spec.banks;
  let runs = wanted;
  while (runs > room) runs /= 2;
  if (runs < 1)
    throw new Error(`${spec.id}: ${spec.banks} banks do not fit ${device.workgroupMemory} bytes of workgroup memory`);
  return runs;
}
