/** Devices: what is chosen, what is known about it, and how its failures reach the caller. */
import { spawnSync } from "node:child_process";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { KernelModule } from "../../../compiler/plan/plan.ts";
import { MoeError } from "../../../grammar/diagnostic.ts";
import { listAdapters } from "../../../runtime/dawn/find-adapter.ts";
import { openDevice } from "../../../runtime/dawn/open-device.ts";
import type { Device } from "../../../runtime/gpu/device.ts";
import { BufferUsage } from "../../../runtime/gpu/flags.ts";
import { Pipelines } from "../../../runtime/gpu/pipelines.ts";
import { settle } from "../../../runtime/dawn/wait.ts";

let device: Device;
beforeAll(async () => void (device = await openDevice({ adapter: "null" })));
afterAll(() => device.close());

/** The diagnostic of what is thrown. */
async function refusal(run: () => unknown): Promise<MoeError["diagnostics"][number]> {
  try {
    await run();
  } catch (error) {
    if (error instanceof MoeError) return error.diagnostics[0]!;
    throw error;
  }
  throw new Error("nothing was refused");
}

const invalidBuffer = (on: Device): GPUBuffer =>
  on.gpu.createBuffer({ size: 16, usage: BufferUsage.MAP_READ | BufferUsage.STORAGE });

const kernel = (wgsl: string): KernelModule => ({
  id: "k1",
  wgsl,
  workgroup: [1, 1, 1],
  bindings: ["write"],
  features: [],
});

test("every adapter can be opened by its name, and hardware comes before software", async () => {
  const adapters = await listAdapters();
  expect(adapters.length).toBeGreaterThan(0);
  const isSoftware = adapters.map((a) => a.kind === "software");
  expect(isSoftware).toEqual([...isSoftware].sort());
  for (const { name } of adapters) {
    const opened = await openDevice({ adapter: name });
    expect(opened.adapter.name).toBe(name);
    const isGpu = opened.adapter.kind !== "software";
    expect(opened.facts).toMatchObject({ fastWorkgroupMemory: isGpu, manyCores: isGpu });
    opened.close();
  }
});

test("an unknown adapter is refused with the names of those there are", async () => {
  const { code, help } = await refusal(() => openDevice({ adapter: "no such adapter" }));
  expect(code).toBe("device/unknown-adapter");
  expect(help).toContain((await listAdapters())[0]!.name);
});

test("a machine without any driver is told what to install", () => {
  const script = `import { openDevice } from "./runtime/dawn/open-device.ts";
    openDevice().then(() => console.log("opened"), (e) => console.log(JSON.stringify(e.diagnostics[0])));`;
  const { stdout } = spawnSync(process.execPath, ["--input-type=module", "-e", script], {
    encoding: "utf8",
    env: { ...process.env, VK_DRIVER_FILES: "/nonexistent", VK_ICD_FILENAMES: "/nonexistent" },
  });
  const { code, help } = JSON.parse(stdout) as { code: string; help: string };
  expect(code).toBe("device/none");
  expect(help).toMatch(/npm run setup/);
});

test("limits are the adapter's own, not WebGPU's defaults", async () => {
  const opened = await openDevice();
  expect(opened.facts.maxBuffer).toBeGreaterThan(268435456);
  expect(opened.gpu.features.has("subgroups")).toBe(opened.facts.subgroup !== null);
  opened.close();
});

test("facts can be narrowed, and features left out are then not there", async () => {
  const opened = await openDevice({ adapter: "null", facts: { subgroup: null, f16: false, maxBinding: 1024 } });
  expect(opened.facts).toMatchObject({ subgroup: null, f16: false, maxBinding: 1024 });
  expect(opened.gpu.features.has("subgroups")).toBe(false);
  opened.close();
});

test("a mistake that Dawn reports late is thrown once, at the next check, with what was going on", async () => {
  device.activity = "entry `logits.decode` of Tiny";
  invalidBuffer(device);
  await device.gpu.queue.onSubmittedWorkDone();
  const { code, message } = await refusal(() => device.check());
  expect(code).toBe("device/invalid");
  expect(message).toContain("entry `logits.decode` of Tiny");
  device.check();
});

test("a guarded mistake is thrown where it is made and says what was being made", async () => {
  const { code, message } = await refusal(() => device.guard("parameter `head.w`", () => invalidBuffer(device)));
  expect([code, message]).toEqual(["device/invalid", expect.stringContaining("parameter `head.w`")]);
  device.check();
});

test("a closed device says so", async () => {
  const opened = await openDevice({ adapter: "null" });
  opened.close();
  expect((await refusal(() => opened.check())).code).toBe("device/closed");
});

test("a lost device says during what, at every call", async () => {
  const opened = await openDevice({ adapter: "null" });
  opened.activity = "entry `logits.decode` of Tiny";
  opened.gpu.destroy();
  await opened.gpu.lost;
  for (let call = 0; call < 2; call++) {
    const { code, message } = await refusal(() => opened.check());
    expect([code, message]).toEqual(["device/lost", expect.stringContaining("logits.decode")]);
  }
});

test("a rejected shader is reported with its kernel, its WGSL line and its origin", async () => {
  const module = kernel("@compute @workgroup_size(1)\nfn main() {\n  let x: i32 = 1.5;\n}\n");
  const need = { module, constants: {}, label: "blocks[#].ffn silu", origin: "mixtral.moe:12:3" };
  const { code, message, notes } = await refusal(() => Pipelines.of(device).make([need]));
  expect(code).toBe("kernel/rejected");
  expect(message).toContain("blocks[#].ffn silu");
  expect(notes.join("\n")).toContain("mixtral.moe:12:3");
  expect(notes.join("\n")).toMatch(/line 3: .*`let x: i32 = 1.5;`/);
});

test("a pipeline is made once per text and constants", async () => {
  const wgsl = `override n: u32 = 1u;
@group(0) @binding(0) var<storage, read_write> out: array<u32>;
@compute @workgroup_size(1) fn main() { out[0] = n; }`;
  const need = (n: number): Parameters<Pipelines["make"]>[0][number] => ({
    module: kernel(wgsl),
    constants: { n },
    label: "k",
    origin: null,
  });
  const pipelines = Pipelines.of(device);
  const before = pipelines.count;
  const [a, b, c] = await pipelines.make([need(1), need(2), need(1)]);
  expect(pipelines.count - before).toBe(2);
  expect(a).toBe(c);
  expect(a).not.toBe(b);
});

test("settling passes values and errors through, also for many promises at once", async () => {
  const later = <V>(value: V): Promise<V> => new Promise((resolve) => setTimeout(() => resolve(value), 3));
  expect(await Promise.all([1, 2, 3].map((n) => settle(later(n))))).toEqual([1, 2, 3]);
  await expect(settle(Promise.reject(new Error("no")))).rejects.toThrow("no");
});

test("a process that opened devices ends by itself", () => {
  const script = `import { openDevice } from "./runtime/dawn/open-device.ts";
    const a = await openDevice(); const b = await openDevice({ adapter: "null" }); b.close(); a.close();`;
  const { status, signal } = spawnSync(process.execPath, ["--input-type=module", "-e", script]);
  expect([status, signal]).toEqual([0, null]);
});
