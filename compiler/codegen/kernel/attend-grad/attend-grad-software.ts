/**
 * Attention's gradient on a software adapter: one subgroup per head and block of owners (queries or keys). For scores and their gradients a
 * lane has one token of the other side and the owners are broadcast; for the sums a lane has channels and what each pair passes on is
 * broadcast, as in attention itself (`attend/attend-software.ts`): what is loaded is used by the whole block.
 */
import type { DeviceFacts } from "../../../plan/plan.ts";
import { float, range, unitOf } from "../attend/attend-pieces.ts";
import type { EmittedKernel } from "../contraction/contraction.ts";
import { fixedLanes, tuning } from "../tuning.ts";
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

export const attendGradSoftware: AttendGradTemplate = {
  name: "attend-grad-software",
  suits: (_, device) => !device.fastWorkgroupMemory && fixedLanes(device) !== null,
  emit(spec, device: DeviceFacts) {
    const lanes = fixedLanes(device);
    if (lanes === null) throw new Error(`${spec.id}: needs subgroups of one size`);
    return emitGradient(spec, lanes);
  },
};

/** What one kind of channel is: how its units are told, and which of them a lane sums up. */
interface Channels {
  readonly name: "scored" | "value";
  readonly units: number;
  /** Of the other side, added up; of the owners, met with it. */
  readonly other: ReadHead;
  readonly own: ReadHead;
  readonly store: StoreHead | null;
  /** What a pair weighs the other side with. */
  readonly weight: "passed" | "probability";
}

function emitGradient(spec: AttendGradSpec, lanes: number): EmittedKernel {
  const w = new KernelWriter();
  w.feature("subgroups");
  const width = widthOf(spec);
  const type = width === 4 ? "vec4<f32>" : "f32";
  const { own, other } = sidesOf(spec);
  const [scored, value] = (["scored", "value"] as const).map((name, i): Channels => ({
    name,
    units: (i === 0 ? spec.channels : spec.valueChannels) / width,
    own: own[i]!,
    other: other[i]!,
    store: i === 0 ? spec.storeScored : spec.storeValue,
    weight: i === 0 ? "passed" : "probability",
  })) as [Channels, Channels];
  // Probabilities alone are enough for the values.
  const met = spec.storeScored === null ? [scored] : [scored, value];
  const summed = [scored, value].filter(({ store }) => store !== null);
  const owned = ({ units }: Channels): number => Math.ceil(units / lanes);
  const rows = chooseRows(
    lanes,
    summed.reduce((n, c) => n + owned(c), 0),
  );
  const each = range(rows);
  const slot = w.bind(spec.slot, "array<u32>", "read");
  const runs = w.bind(spec.runs, "array<u32>", "read");
  const dot = unitOf(width).dot;
  const byQuery = spec.owner === "query";
  if (spec.softcap !== null) w.use("moe_tanh");
  for (const c of met) w.global(c.name, `var<workgroup> own_${c.name}: array<${type}, ${rows * c.units}>;`);

  const load = met.map(
    (c) => `for (var i = lane; i < ${rows * c.units}u; i += ${lanes}u) {
  let own_token = token + min(i / ${c.units}u, count - 1u);
  let own_channel = i % ${c.units}u * ${width}u;
  own_${c.name}[i] = ${c.own(w, width, "own_token", "head", "own_channel")};
}`,
  );
  const meet = met.map(
    (c) => `for (var c = 0u; c < ${c.units}u * once; c++) {
  let other_channel = c * ${width}u;
  let met = ${c.other(w, width, "other_at", "head", "other_channel")};
  let own = own_${c.name}[min(lane, ${rows - 1}u) * ${c.units}u + c];
  ${each.map((i) => `${c.name}_dot${i} += ${dot(`subgroupBroadcast(own, ${i}u)`, "met")};`).join("\n  ")}
}`,
  );
  const pass = (i: number): string => {
    const [at, p] = byQuery ? [`position${i}`, "other_position"] : ["other_position", `position${i}`];
    const [logsum, mean] = byQuery ? [`logsum${i}`, `mean${i}`] : ["logsum", "mean"];
    const raw = `scored_dot${i} * ${float(spec.scale)}`;
    const cap = spec.softcap === null ? null : float(spec.softcap);
    return `let seen${i} = slot${i} == slot && other < to && ${isSeen(spec, at, p)};
let bend${i} = ${cap === null ? "0.0" : `moe_tanh(${raw} / ${cap})`};
let probability${i} = select(0.0, exp(${cap === null ? raw : `${cap} * bend${i}`} - ${logsum}), seen${i});
${
  spec.storeScored === null
    ? ""
    : `let passed${i} = select(0.0, probability${i} * (value_dot${i} - ${mean}) * ${float(spec.scale)} * (1.0 - bend${i} * bend${i}), seen${i});`
}`;
  };
  const unit = (c: Channels, u: number): string => `min(${u * lanes}u + lane, ${c.units - 1}u) * ${width}u`;
  const accumulate = summed.map(
    (c) => `${range(owned(c))
      .map(
        (u) =>
          `let ${c.name}_from${u} = ${unit(c, u)};\nlet ${c.name}_added${u} = ${c.other(w, width, "added_at", "head", `${c.name}_from${u}`)};`,
      )
      .join("\n")}
${each
  .map(
    (i) => `let ${c.name}_share${i} = ${type}(subgroupShuffle(${c.weight}${i}, j));
${range(owned(c))
  .map((u) => `${c.name}${i}_${u} = fma(${c.name}_share${i}, ${c.name}_added${u}, ${c.name}${i}_${u});`)
  .join("\n")}`,
  )
  .join("\n")}`,
  );
  const statistics = (token: string, suffix: string): string => `let logsum${suffix} = ${spec.row(w, token, "head", 0)};
let mean${suffix} = ${spec.storeScored === null ? "0.0" : spec.row(w, token, "head", 1)};`;
  const walk = forEachOther(
    w,
    spec,
    slot,
    runs,
    lanes,
    `let other = base + lane;
let other_at = min(other, to - 1u);
let other_position = other_at - run;
${byQuery ? "" : statistics("other_at", "")}
${met.flatMap((c) => each.map((i) => `var ${c.name}_dot${i} = 0.0;`)).join(" ")}
${meet.join("\n")}
${each.map(pass).join("\n")}
for (var j = 0u; j < ${lanes}u * once; j++) {
let added_at = min(base + j, to - 1u);
${accumulate.join("\n")}
}`,
  );
  const body = `
let blocks = (${w.step("T")} + ${rows - 1}u) / ${rows}u;
let owner = group / blocks;
if (owner >= ${spec.owners}u) { return; }
let token = group % blocks * ${rows}u;
let count = min(${rows}u, ${w.step("T")} - token);
${each
  .map(
    (i) => `let token${i} = token + min(${i}u, count - 1u);
let slot${i} = ${slot}[token${i}];
let position${i} = token${i} - ${runs}[slot${i} * 2u];
${summed.flatMap((c) => range(owned(c)).map((u) => `var ${c.name}${i}_${u} = ${type}();`)).join("\n")}`,
  )
  .join("\n")}
for (var member = 0u; member < ${spec.members}u * once; member++) {
let head = ${spec.headOf("owner", "member")};
${load.join("\n")}
${byQuery ? each.map((i) => statistics(`token${i}`, `${i}`)).join("\n") : ""}
workgroupBarrier();
${walk}
workgroupBarrier();
}
${summed.map((c) => storeAll(w, c, owned(c), { rows, lanes, width, type })).join("\n")}`;
  const module = w.finish(spec.id, [lanes, 1, 1], body);
  return {
    module,
    grid: [["*", ["ceil", spec.rows, rows], spec.owners], 1, 1],
    bindings: w.bindings,
    constants: w.constants,
  };
}

/** Fewer owners for wide heads: a lane holds a sum per owner and unit of channels, and runs out of registers. */
function chooseRows(lanes: number, owned: number): number {
  let rows = Math.min(lanes, tuning.attendGradSoftware.owners);
  while (rows > 1 && rows * owned > tuning.attendGradSoftware.sums) rows /= 2;
  return rows;
}

interface Block {
  readonly rows: number;
  readonly lanes: number;
  readonly width: 1 | 4;
  readonly type: string;
}

function storeAll(w: KernelWriter, c: Channels, owned: number, { rows, lanes, width, type }: Block): string {
  const sums = range(rows).flatMap((i) => range(owned).map((u) => `${c.name}${i}_${u}`));
  return `var ${c.name}_sums = array<${type}, ${rows * owned}>(${sums.join(", ")});
for (var i = 0u; i < count * once; i++) {
  let out_token = token + i;
  for (var u = lane; u < ${c.units}u; u += ${lanes}u) {
    let result = ${c.name}_sums[i * ${owned}u + u / ${lanes}u];
    let channel = u * ${width}u;
    ${c.store!(w, width, "out_token", "owner", "channel", "result")}
  }
}`;
}
