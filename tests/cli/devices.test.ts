/** `moec devices`: what kernels would be chosen by is told. */
import { expect, test } from "vitest";
import { DEVICE_KINDS } from "../../compiler/plan/facts.ts";
import type { DeviceFacts } from "../../compiler/plan/plan.ts";
import { moec } from "./support.ts";

// Dawn's adapter that computes nothing is on every machine.
const ADAPTER = ["--adapter", "null"];

test("--json has the facts of the device, capabilities among them", async () => {
  const { code, out } = await moec("devices", ...ADAPTER, "--json");
  expect(code).toBe(0);
  const { facts } = JSON.parse(out) as { facts: DeviceFacts };
  expect(facts).toMatchObject(DEVICE_KINDS.software);
  expect(facts.maxInvocations).toBeGreaterThanOrEqual(256);
});

test("the table says how fast workgroup memory is, and how many cores there are", async () => {
  const { out } = await moec("devices", ...ADAPTER);
  expect(out).toMatch(/^workgroup memory +[\d.]+ KiB, slow: tiles stay in registers$/m);
  expect(out).toMatch(/^cores +few$/m);
});
