/**
 * Attention on a software adapter: one subgroup per head and block of queries, an online softmax over as many positions
 * at a time as there are lanes. For the scores a lane owns a position and the queries are broadcast; for the values a
 * lane owns channels and the weights are broadcast: a key or a value is loaded once per block of queries, and no barrier
 * stands in the loop. Queries of different sequences in one block are taken one sequence after the other.
 */
import type { DeviceFacts } from "../../../plan/plan.ts";
import type { AttendSpec } from "./attend.ts";
import {
  cacheAt,
  type ChannelUnit,
  float,
  forEachRun,
  isVisible,
  keyRow,
  range,
  unitOf,
  valueRow,
} from "./attend-pieces.ts";
import type { EmittedKernel } from "../contraction/contraction.ts";
import { fixedLanes, tuning } from "../tuning.ts";
import { KernelWriter } from "../writer.ts";

export const attendSoftware = {
  name: "attend-software",
  suits: (_: AttendSpec, device: DeviceFacts): boolean => !device.fastWorkgroupMemory && fixedLanes(device) !== null,
  emit(spec: AttendSpec, regime: "prefill" | "decode", device: DeviceFacts): EmittedKernel {
    const lanes = fixedLanes(device);
    if (lanes === null) throw new Error(`${spec.id}: needs subgroups of one size`);
    return emitSubgroupAttend(spec, lanes, regime === "decode" ? 1 : chooseQueries(spec, lanes));
  },
};

/** Fewer queries for wide heads: a lane holds an output per query and unit of channels, and runs out of registers. */
function chooseQueries(spec: AttendSpec, lanes: number): number {
  const owned = Math.ceil(unitOf(spec.valueChannels).units / lanes);
  let queries = Math.min(lanes, tuning.attendSoftware.queries);
  while (queries > 1 && queries * owned > tuning.attendSoftware.outputs) queries /= 2;
  return queries;
}

function emitSubgroupAttend(spec: AttendSpec, lanes: number, queries: number): EmittedKernel {
  const w = new KernelWriter();
  w.feature("subgroups");
  const key = unitOf(spec.channels);
  const value = unitOf(spec.valueChannels);
  const keys = spec.keys(w, key.width);
  const values = spec.values(w, value.width);
  const position = w.bind(spec.position, "array<u32>", "read");
  const slot = w.bind(spec.slot, "array<u32>", "read");
  // Units of the output that a lane owns.
  const owned = Math.ceil(value.units / lanes);
  const q = range(queries);
  if (queries > 1) w.global("query", `var<workgroup> query: array<${key.type}, ${queries * key.units}>;`);
  const readQ = (token: string, c: string): string => spec.q(w, key.width, token, "head", `(${c} * ${key.width}u)`);
  const blocks = `((${w.step("T")} + ${queries - 1}u) / ${queries}u)`;
  const unit = (i: number): string =>
    owned * lanes === value.units ? `${i * lanes}u + lane` : `min(${i * lanes}u + lane, ${value.units - 1}u)`;

  const scores = queries === 1 ? scoreOne(key, keys, lanes) : scoreSeveral(key, keys, queries);
  if (spec.softcap !== null) w.use("moe_tanh");
  const softcap = (score: string): string =>
    spec.softcap === null ? score : `${float(spec.softcap)} * moe_tanh(${score} / ${float(spec.softcap)})`;
  const softmax = (i: number): string => `
  let valid${i} = slot${i} == slot && ${isVisible(spec, `position${i}`)};
  let masked${i} = select(-1e30, ${softcap(`score${i} * ${float(spec.scale)}`)}, valid${i});
  let top${i} = max(max${i}, subgroupMax(masked${i}));
  let weight${i} = select(0.0, exp(masked${i} - top${i}), valid${i});
  let fade${i} = exp(max${i} - top${i});
  max${i} = top${i};
  total${i} = total${i} * fade${i} + weight${i};
  ${range(owned)
    .map((u) => `out${i}_${u} *= fade${i};`)
    .join(" ")}`;
  const accumulate = `
for (var j = 0u; j < ${lanes}u * once; j++) {
  let value_at = ${cacheAt("base + j", valueRow(spec, value), value.units)};
  ${range(owned)
    .map((u) => `let v${u} = ${values(`value_at + ${unit(u)}`)};`)
    .join("\n  ")}
  ${q
    .map((i) => {
      const share = `share${i}`;
      return `let ${share} = subgroupShuffle(weight${i}, j);\n  ${range(owned)
        .map((u) => `out${i}_${u} = fma(${value.type}(${share}), v${u}, out${i}_${u});`)
        .join(" ")}`;
    })
    .join("\n  ")}
}`;
  const body = `
let blocks = ${blocks};
let head = group / blocks;
if (head >= ${spec.heads}u) { return; }
let token = group % blocks * ${queries}u;
let count = min(${queries}u, ${w.step("T")} - token);
let kv_head = ${spec.kvHeadOf("head")};
let ring = ${spec.ring(w)};
${spec.sink === null ? "" : `let sink = ${spec.sink(w, "head")};`}
${queries === 1 ? loadOne(key, lanes, readQ) : loadSeveral(key, lanes, queries, readQ)}
${q
  .map(
    (i) => `
let position${i} = ${position}[token + min(${i}u, count - 1u)];
let slot${i} = ${slot}[token + min(${i}u, count - 1u)];
var max${i} = ${spec.sink === null ? "-1e30" : "sink"};
var total${i} = ${spec.sink === null ? "0.0" : "select(0.0, 1.0, lane == 0u)"};
${range(owned)
  .map((u) => `var out${i}_${u} = ${value.type}();`)
  .join("\n")}`,
  )
  .join("")}
${forEachRun(
  w,
  spec,
  position,
  slot,
  lanes,
  `    let p = base + lane;
    let key_at = ${cacheAt("p", keyRow(spec, key), key.units)};
    ${q.map((i) => `var score${i} = 0.0;`).join(" ")}
    ${scores}
    ${q.map(softmax).join("")}
    ${accumulate}`,
)}
${spec.storeLogsum === null ? "" : `var tops = array<f32, ${queries}>(${q.map((i) => `max${i}`).join(", ")});`}
var totals = array<f32, ${queries}>(${q.map((i) => `total${i}`).join(", ")});
var outs = array<${value.type}, ${queries * owned}>(${q.flatMap((i) => range(owned).map((u) => `out${i}_${u}`)).join(", ")});
for (var i = 0u; i < count * once; i++) {
  let total = subgroupAdd(totals[i]);
  let inverse = 1.0 / total;
  let out_token = token + i;
  ${
    spec.storeLogsum === null
      ? ""
      : `let logsum = tops[i] + log(total);
  if (lane == 0u) { ${spec.storeLogsum(w, "out_token", "head")} }`
  }
  for (var u = lane; u < ${value.units}u; u += ${lanes}u) {
    let result = outs[i * ${owned}u + u / ${lanes}u] * inverse;
    let channel = u * ${value.width}u;
    ${spec.store(w, value.width, "out_token", "head", "channel", "result")}
  }
}`;
  const module = w.finish(spec.id, [lanes, 1, 1], `${body}`);
  return {
    module,
    grid: [["*", ["ceil", spec.rows, queries], spec.heads], 1, 1],
    bindings: w.bindings,
    constants: w.constants,
  };
}

/** Several queries lie in workgroup memory; lane i reads the channels of query i and broadcasts them. */
function loadSeveral(
  key: ChannelUnit,
  lanes: number,
  queries: number,
  readQ: (token: string, c: string) => string,
): string {
  return `for (var i = lane; i < ${queries * key.units}u; i += ${lanes}u) {
  let own_token = token + min(i / ${key.units}u, count - 1u);
  let c = i % ${key.units}u;
  query[i] = ${readQ("own_token", "c")};
}
workgroupBarrier();`;
}

function scoreSeveral(key: ChannelUnit, keys: (unit: string) => string, queries: number): string {
  const rows = range(queries).map((i) => `score${i} += ${key.dot(`subgroupBroadcast(own, ${i}u)`, "k")};`);
  return `for (var c = 0u; c < ${key.units}u * once; c++) {
  let k = ${keys("key_at + c")};
  let own = query[min(lane, ${queries - 1}u) * ${key.units}u + c];
  ${rows.join("\n  ")}
}`;
}

/** The channels of one query are spread over the lanes, in registers: its only loads in the loop are those of keys. */
function loadOne(key: ChannelUnit, lanes: number, readQ: (token: string, c: string) => string): string {
  return range(Math.ceil(key.units / lanes))
    .map((i) => {
      const at = `${i * lanes}u + lane`;
      if ((i + 1) * lanes <= key.units) return `let query${i} = ${readQ("token", `(${at})`)};`;
      return `var query${i} = ${key.type}();\nif (${at} < ${key.units}u) { query${i} = ${readQ("token", `(${at})`)}; }`;
    })
    .join("\n");
}

function scoreOne(key: ChannelUnit, keys: (unit: string) => string, lanes: number): string {
  const terms = range(Math.ceil(key.units / lanes)).map((i) => {
    const at = (i + 1) * lanes <= key.units ? `${i * lanes}u + j` : `min(${i * lanes}u + j, ${key.units - 1}u)`;
    return `score0 += ${key.dot(`subgroupShuffle(query${i}, j)`, keys(`key_at + ${at}`))};`;
  });
  return `for (var j = 0u; j < ${lanes}u * once; j++) {\n${terms.join("\n")}\n}`;
}
