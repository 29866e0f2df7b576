/** `moec devices`: what there is to run on, best first, and what moec would use of the best. */
import type { Command } from "commander";
import type { AdapterFacts } from "../../runtime/gpu/adapter.ts";
import type { DeviceFacts } from "../../compiler/plan/plan.ts";
import { humanBytes, paint, print, printJson, table } from "../output.ts";

export function registerDevices(program: Command): void {
  program
    .command("devices")
    .description("list the GPU adapters, their limits and features, and say which one moec would take")
    .option("--adapter <name>", "look at the adapter whose name contains this instead of the best one")
    .option("--json", "print everything as JSON")
    .addHelpText("after", "\nExample:\n  moec devices --adapter llvmpipe")
    .action(runDevices);
}

interface Options {
  readonly adapter?: string;
  readonly json?: true;
}

async function runDevices(options: Options): Promise<void> {
  const { listAdapters } = await import("../../runtime/dawn/find-adapter.ts");
  const { openDevice } = await import("../../runtime/dawn/open-device.ts");
  const device = await openDevice(options.adapter === undefined ? {} : { adapter: options.adapter });
  try {
    const adapters = await listAdapters();
    const features = [...device.gpu.features].sort();
    const picked = adapters.findIndex((a) => a.name === device.adapter.name && a.backend === device.adapter.backend);
    if (options.json)
      printJson({
        adapters,
        picked,
        reason: reasonFor(device.adapter, options.adapter),
        facts: device.facts,
        features,
      });
    else {
      print(
        table([
          ["", "adapter", "backend", "kind", "driver"].map(paint.bold),
          ...adapters.map((a, i) => [i === picked ? "*" : " ", a.name, a.backend, a.kind, a.driver]),
        ]),
      );
      print(`\n${paint.bold("moec takes")} ${device.adapter.name}: ${reasonFor(device.adapter, options.adapter)}\n`);
      print(table(describeFacts(device.facts)));
      print(`\nfeatures in use: ${features.length === 0 ? "none" : features.join(", ")}`);
    }
  } finally {
    device.close();
  }
}

function reasonFor(adapter: AdapterFacts, asked: string | undefined): string {
  if (asked !== undefined) return `its name contains \`${asked}\``;
  switch (adapter.kind) {
    case "discrete":
      return "a discrete GPU comes first";
    case "integrated":
      return "no discrete GPU was found, and an integrated one is faster than the CPU";
    case "software":
      return "no GPU was found; this adapter computes on the CPU";
  }
}

function describeFacts(facts: DeviceFacts): string[][] {
  return [
    ["cores", facts.manyCores ? "many" : "few"],
    [
      "subgroups",
      facts.subgroup === null
        ? "no"
        : facts.subgroup.min === facts.subgroup.max
          ? `${facts.subgroup.min} lanes`
          : `${facts.subgroup.min} to ${facts.subgroup.max} lanes`,
    ],
    ["shader-f16", facts.f16 ? "yes" : "no"],
    ["largest buffer", humanBytes(facts.maxBuffer)],
    ["largest binding", humanBytes(facts.maxBinding)],
    ["bindings per kernel", String(facts.maxStorageBuffers)],
    [
      "workgroup memory",
      `${humanBytes(facts.workgroupMemory)}, ${facts.fastWorkgroupMemory ? "fast: tiles go through it" : "slow: tiles stay in registers"}`,
    ],
    ["workgroup size", `${facts.maxInvocations} invocations`],
    ["workgroups per axis", String(facts.maxWorkgroups)],
  ];
}
