/**
 * Attention's gradient on a GPU: a workgroup per head and block of owners (queries or keys), which meets the other side tile by tile, as in
 * FlashAttention-2 (arXiv 2307.08691). First each invocation has a token of the tile and some owners, whose channels pass through
 * workgroup memory a few units at a time; what every pair passes on is left there. Then it has a unit of channels of some owners and adds
 * up over the tile. Needs no feature. Limit: the tile's rows are read twice, the second time from the device's caches.
 */
import type { DeviceFacts } from "../../../plan/plan.ts";
import { float, range, unitOf } from "../attend/attend-pieces.ts";
import type { EmittedKernel } from "../contraction/contraction.ts";
import { tuning } from "../tuning.ts";
import { KernelWriter } from "../writer.ts";
import {
  type AttendGradSpec,
  type AttendGradTemplate,
  forEachOther,
  isSeen,
  type ReadHead,
  sidesOf,
  type StoreHead,
  widthOf,
} from "./attend-grad.ts";

const { invocations: INVOCATIONS, others: OTHERS, units: PART, rows: MOST_ROWS } = tuning.attendGradGpu;

export const attendGradGpu: AttendGradTemplate = {
  name: "attend-grad-gpu",
  suits: () => true,
  emit(spec, device) {
    return emitTiled(spec, chooseOwners(spec, device));
  },
};

/** Owners of a block: as many as fit into the device's workgroup memory. */
function chooseOwners(spec: AttendGradSpec, device: DeviceFacts): number {
  const words = (owners: number): number =>
    (owners + OTHERS) * (PART + 1) * widthOf(spec) + 2 * owners * OTHERS + 4 * (owners + OTHERS);
  const { owners: most, leastOwners } = tuning.attendGradGpu;
  let owners: number = most;
  while (owners > leastOwners && 4 * words(owners) > device.workgroupMemory) owners /= 2;
  return owners;
}

function emitTiled(spec: AttendGradSpec, owners: number): EmittedKernel {
  const w = new KernelWriter();
  const width = widthOf(spec);
  const type = width === 4 ? "vec4<f32>" : "f32";
  const slot = w.bind(spec.slot, "array<u32>", "read");
  const runs = w.bind(spec.runs, "array<u32>", "read");
  const { own, other } = sidesOf(spec);
  const byQuery = spec.owner === "query";
  if (spec.softcap !== null) w.use("moe_tanh");
  w.global(
    "memory",
    `var<workgroup> own_part: array<${type}, ${owners * (PART + 1)}>;
var<workgroup> other_part: array<${type}, ${OTHERS * (PART + 1)}>;
var<workgroup> probabilities: array<f32, ${owners * OTHERS}>;
${spec.storeScored === null ? "" : `var<workgroup> passed: array<f32, ${owners * OTHERS}>;`}
var<workgroup> places: array<vec2<u32>, ${owners}>;
var<workgroup> statistics: array<vec2<f32>, ${byQuery ? owners : OTHERS}>;`,
  );
  const strided = (count: number, body: string): string =>
    `for (var i = lane; i < ${count}u * once; i += ${INVOCATIONS}u) {\n${body}\n}`;
  const mean = (token: string): string => (spec.storeScored === null ? "0.0" : spec.row(w, token, "head", 1));
  const statisticsOf = (token: string): string =>
    `statistics[i] = vec2<f32>(${spec.row(w, token, "head", 0)}, ${mean(token)});`;
  const pieces: Pieces = { spec, w, owners, width, type };
  const scored: Channels = { units: spec.channels / width, own: own[0], other: other[0] };
  const value: Channels = { units: spec.valueChannels / width, own: own[1], other: other[1] };
  const sums = [
    ...turnsOf(pieces, "scored", scored, "passed", spec.storeScored),
    ...turnsOf(pieces, "value", value, "probabilities", spec.storeValue),
  ];
  const pairs = range((owners * OTHERS) / INVOCATIONS);
  const [at, p] = byQuery ? ["place.x", "other_position"] : ["other_position", "place.x"];
  const raw = (r: number): string => `scored_dot${r} * ${float(spec.scale)}`;
  const cap = spec.softcap === null ? null : float(spec.softcap);
  const pass = (r: number): string => `{
let place = places[row + ${r}u];
let statistic = statistics[${byQuery ? `row + ${r}u` : "j"}];
let seen = place.y == slot && other < to && ${isSeen(spec, at, p)};
let bend = ${cap === null ? "0.0" : `moe_tanh(${raw(r)} / ${cap})`};
let probability = select(0.0, exp(${cap === null ? raw(r) : `${cap} * bend`} - statistic.x), seen);
probabilities[(row + ${r}u) * ${OTHERS}u + j] = probability;
${
  spec.storeScored === null
    ? ""
    : `passed[(row + ${r}u) * ${OTHERS}u + j] = select(0.0, probability * (value_dot${r} - statistic.y) * ${float(spec.scale)} * (1.0 - bend * bend), seen);`
}
}`;
  const walk = forEachOther(
    w,
    spec,
    slot,
    runs,
    OTHERS,
    `${byQuery ? "" : strided(OTHERS, `let other_at = min(base + i, to - 1u);\n${statisticsOf("other_at")}`)}
let j = lane % ${OTHERS}u;
let row = lane / ${OTHERS}u * ${pairs.length}u;
let other = base + j;
let other_position = min(other, to - 1u) - run;
${pairs.map((r) => `var scored_dot${r} = 0.0; var value_dot${r} = 0.0;`).join("\n")}
${meet(pieces, "scored", scored, strided, pairs)}
${spec.storeScored === null ? "" : meet(pieces, "value", value, strided, pairs)}
${pairs.map(pass).join("\n")}
workgroupBarrier();
${sums.map((s) => s.add).join("\n")}
workgroupBarrier();`,
  );
  const body = `
let blocks = (${w.step("T")} + ${owners - 1}u) / ${owners}u;
let owner = group / blocks;
if (owner >= ${spec.owners}u) { return; }
let token = group % blocks * ${owners}u;
let count = min(${owners}u, ${w.step("T")} - token);
${strided(owners, `let own_at = token + min(i, count - 1u);\nlet own_slot = ${slot}[own_at];\nplaces[i] = vec2<u32>(own_at - ${runs}[own_slot * 2u], own_slot);`)}
${sums.map((s) => s.declare).join("\n")}
for (var member = 0u; member < ${spec.members}u * once; member++) {
let head = ${spec.headOf("owner", "member")};
${byQuery ? strided(owners, `let own_at = token + min(i, count - 1u);\n${statisticsOf("own_at")}`) : ""}
workgroupBarrier();
${walk}
}
${sums.map((s) => s.store).join("\n")}`;
  const module = w.finish(spec.id, [INVOCATIONS, 1, 1], body);
  return {
    module,
    grid: [["*", ["ceil", spec.rows, owners], spec.owners], 1, 1],
    bindings: w.bindings,
    constants: w.constants,
  };
}

interface Pieces {
  readonly spec: AttendGradSpec;
  readonly w: KernelWriter;
  readonly owners: number;
  readonly width: 1 | 4;
  readonly type: string;
}

interface Channels {
  readonly units: number;
  readonly own: ReadHead;
  readonly other: ReadHead;
}

/** Products of a token of the tile with some owners; the odd stride spreads the rows over the banks of the memory. */
function meet(
  { w, owners, width }: Pieces,
  name: string,
  { units, own, other }: Channels,
  strided: (count: number, body: string) => string,
  pairs: readonly number[],
): string {
  const stride = PART + 1;
  const load = (to: string, rows: number, token: string, read: ReadHead): string =>
    strided(
      rows * PART,
      `let load_at = ${token};
let load_channel = min(part + i % ${PART}u, ${units - 1}u) * ${width}u;
${to}[i / ${PART}u * ${stride}u + i % ${PART}u] = ${read(w, width, "load_at", "head", "load_channel")};`,
    );
  return `for (var part = 0u; part < ${units}u * once; part += ${PART}u) {
${load("own_part", owners, `token + min(i / ${PART}u, count - 1u)`, own)}
${load("other_part", OTHERS, `min(base + i / ${PART}u, to - 1u)`, other)}
workgroupBarrier();
for (var c = 0u; c < min(${PART}u, ${units}u - part); c++) {
let met = other_part[j * ${stride}u + c];
${pairs.map((r) => `${name}_dot${r} += ${unitOf(width).dot(`own_part[(row + ${r}u) * ${stride}u + c]`, "met")};`).join("\n")}
}
workgroupBarrier();
}`;
}

interface Turn {
  readonly declare: string;
  readonly add: string;
  readonly store: string;
}

/** The sums of one kind of channel, shared out among the invocations in as many turns as it takes: a unit of channels for some owners each. */
function turnsOf(
  { w, owners, width, type }: Pieces,
  name: string,
  { units, other }: Channels,
  weights: string,
  store: StoreHead | null,
): readonly Turn[] {
  if (store === null) return [];
  const wanted = 2 ** Math.ceil(Math.log2(Math.max(1, (owners * units) / INVOCATIONS)));
  const rows = Math.min(MOST_ROWS, owners, wanted);
  const items = units * (owners / rows);
  return range(Math.ceil(items / INVOCATIONS)).map((turn): Turn => {
    const sum = (r: number): string => `${name}${turn}_${r}`;
    const open = `{
let item = lane + ${turn * INVOCATIONS}u;
if (item < ${items}u) {
let channel = item % ${units}u * ${width}u;
let sum_row = item / ${units}u * ${rows}u;`;
    return {
      declare: range(rows)
        .map((r) => `var ${sum(r)} = ${type}();`)
        .join("\n"),
      add: `${open}
let until_j = min(${OTHERS}u, to - base);
for (var e = 0u; e < until_j; e++) {
let added_at = base + e;
let added = ${other(w, width, "added_at", "head", "channel")};
${range(rows)
  .map((r) => `${sum(r)} = fma(${type}(${weights}[(sum_row + ${r}u) * ${OTHERS}u + e]), added, ${sum(r)});`)
  .join("\n")}
}
}
}`,
      store: `${open}
${range(rows)
  .map(
    (r) => `if (sum_row + ${r}u < count) {
let out_token = token + sum_row + ${r}u;
let result = ${sum(r)};
${store(w, width, "out_token", "owner", "channel", "result")}
}`,
  )
  .join("\n")}
}
}`,
    };
  });
}
