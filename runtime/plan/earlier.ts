/**
 * Plans of earlier moecs, as the one of today has them. In version 1 sizes had four symbols without being said so, regimes were called `many`
 * and `few`, inputs per sequence `condition`, an entry's output was the first part of its name, and there was nothing for training. Kernels are
 * the same: a step's uniform holds the same words. In it, and in version 2 at first, a device had a `kind` and not capabilities, and all states and buffers were f32. What is not
 * as a plan has it is left as it is, for the check that comes next.
 */
import { DEVICE_KINDS, type DeviceKind } from "../../compiler/plan/facts.ts";
import { isRecord, isText, type Json } from "../files/json-shape.ts";

const REGIMES: Readonly<Record<string, string>> = { many: "prefill", few: "decode" };

/** `json` is a plan's record, of any version; what is of today comes back as it is. */
export function fromEarlier(json: Readonly<Record<string, Json>>): Readonly<Record<string, Json>> {
  const { device, states, buffers, ...plan } = json["version"] === 1 ? fromVersionOne(json) : json;
  return {
    ...plan,
    device: isRecord(device) ? withCapabilities(device) : device,
    states: each(states, (state) => ({ store: "f32", ...state })),
    buffers: each(buffers, (buffer) => ({ store: "f32", ...buffer })),
  };
}

function withCapabilities({ kind, ...facts }: Readonly<Record<string, Json>>): Json {
  if (kind === undefined) return facts;
  return isText(kind) && Object.hasOwn(DEVICE_KINDS, kind)
    ? { ...facts, ...DEVICE_KINDS[kind as DeviceKind] }
    : { ...facts, kind };
}

function fromVersionOne(json: Readonly<Record<string, Json>>): Readonly<Record<string, Json>> {
  return {
    ...json,
    version: 2,
    symbols: ["T", "Q", "S", "P"],
    scalars: [],
    buffers: each(json["buffers"], (buffer) => ({
      ...buffer,
      kept: null,
      role: buffer["role"] === "condition" ? "per-sequence" : buffer["role"],
    })),
    entries: each(json["entries"], ({ name, regime, ...entry }) => ({
      ...entry,
      name: isText(name) ? name.replace(/\.(many|few)$/, (_, old: string) => `.${REGIMES[old]}`) : name,
      output: isText(name) ? name.replace(/\.[a-z]+$/, "") : name,
      regime: isText(regime) ? (REGIMES[regime] ?? regime) : regime,
      phase: "infer",
    })),
  };
}

function each(list: Json, of: (item: Readonly<Record<string, Json>>) => Json): Json {
  return Array.isArray(list) ? list.map((item: Json) => (isRecord(item) ? of(item) : item)) : list;
}
