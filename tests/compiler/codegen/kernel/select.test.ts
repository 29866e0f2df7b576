import { describe, expect, it } from "vitest";
import { chooseAttend, chooseContraction, contractionTemplates } from "../../../../compiler/codegen/kernel/select.ts";
import { tileRowsFor } from "../../../../compiler/codegen/kernel/tuning.ts";
import { DEVICE_KINDS } from "../../../../compiler/plan/facts.ts";
import type { DeviceFacts } from "../../../../compiler/plan/plan.ts";
import { makeAttendCase } from "../../../support/attend-case.ts";
import { makeContractionCase } from "../../../support/contraction-case.ts";

const software: DeviceFacts = {
  ...DEVICE_KINDS.software,
  subgroup: { min: 8, max: 8 },
  f16: true,
  maxBinding: 1 << 27,
  maxBuffer: 1 << 30,
  workgroupMemory: 32768,
  maxInvocations: 1024,
  maxStorageBuffers: 16,
  maxWorkgroups: 65535,
};
const plain: DeviceFacts = {
  ...software,
  ...DEVICE_KINDS.gpu,
  subgroup: null,
  workgroupMemory: 16384,
  maxInvocations: 256,
  maxStorageBuffers: 8,
};
const devices = {
  software,
  "software without subgroups": { ...software, subgroup: null },
  "fast workgroup memory on few cores": { ...software, fastWorkgroupMemory: true },
  "slow workgroup memory on many cores": { ...software, manyCores: true },
  gpu: plain,
};

const dense = makeContractionCase("dense", { tokens: 2, k: 8, groups: [{ cols: 8, matrices: 2, storage: "f32" }] });
const attend = makeAttendCase("attend", {
  heads: 2,
  kvHeads: 1,
  channels: 256,
  ring: 4,
  tokens: [{ slot: 0, position: 0 }],
});

describe("choosing a template", () => {
  it.each([
    ["software", "rows-software", "decode-software"],
    ["software without subgroups", "rows-plain", "decode-software"],
    ["fast workgroup memory on few cores", "rows-gpu", "decode-gpu"],
    ["slow workgroup memory on many cores", "rows-software", "decode-software"],
    ["gpu", "rows-gpu", "decode-gpu"],
  ] as const)("takes the first that suits on %s", (name, many, few) => {
    const device = devices[name];
    const named = (regime: "prefill" | "decode", force?: string): string =>
      chooseContraction(dense.spec, regime, device, force).module.wgsl;
    expect(named("prefill")).toBe(named("prefill", many));
    expect(named("decode")).toBe(named("decode", few));
  });

  it("makes modules that need neither subgroups nor more than a device's workgroup memory and invocations", () => {
    for (const regime of ["prefill", "decode"] as const) {
      const kernels = [chooseContraction(dense.spec, regime, plain), chooseAttend(attend.spec, regime, plain)];
      for (const { module } of kernels) {
        expect(module.features).toEqual([]);
        expect(module.workgroup[0]).toBeLessThanOrEqual(plain.maxInvocations);
        expect(workgroupBytes(module.wgsl)).toBeLessThanOrEqual(plain.workgroupMemory);
      }
    }
  });

  it("offers tiles that every grouped template can cut", () => {
    for (const device of Object.values(devices)) {
      const routing = { banks: 4, choices: 2, aPer: "token" as const, tileRows: tileRowsFor(device) };
      const { spec } = makeContractionCase("grouped", {
        tokens: 2,
        k: 8,
        groups: [{ cols: 8, matrices: 1, storage: "f32" }],
        routing,
      });
      expect(chooseContraction(spec, "prefill", device).module.wgsl).toContain("tile");
    }
  });

  it("refuses a name that is no template of the regime", () => {
    expect(() => chooseContraction(dense.spec, "decode", software, "rows-plain")).toThrow("no template rows-plain");
    expect(contractionTemplates.filter((t) => t.regime === "decode" && t.suits(dense.spec, plain))).not.toEqual([]);
  });
});

/** Bytes of the workgroup variables that a module declares. */
function workgroupBytes(wgsl: string): number {
  const sizes: Readonly<Record<string, number>> = { f32: 4, u32: 4, "vec2<u32>": 8, "vec4<f32>": 16 };
  return [...wgsl.matchAll(/var<workgroup> \w+: array<(.+), (\d+)>;/g)].reduce(
    (sum, [, type, n]) => sum + (sizes[type ?? ""] ?? Number.NaN) * Number(n),
    0,
  );
}
