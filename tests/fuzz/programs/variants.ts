/** The kinds of kernels that a program may be compiled to, whatever adapter there is. */
import type { CompileOptions } from "../../../compiler/pipeline.ts";
import type { DeviceFacts } from "../../../compiler/plan/plan.ts";
import type { WeightFormat } from "../../../compiler/plan/format.ts";
import type { TestGpu } from "../../support/gpu.ts";
import { likeGpu } from "../../support/facts.ts";
import type { Draw } from "../../support/random-models.ts";
import { canRun } from "../../support/templates.ts";

export interface Variant {
  readonly name: string;
  readonly facts?: Partial<DeviceFacts>;
  /** A contraction's template is of one regime: the other has none of that name. */
  readonly force?: CompileOptions["force"];
  readonly regime?: "prefill" | "decode";
  readonly storage?: WeightFormat;
  /** Workgroups beyond so many in a row are folded into further rows. */
  readonly workgroups?: number;
}

export const variants: readonly Variant[] = [
  { name: "as the device is" },
  { name: "without subgroups", facts: { subgroup: null } },
  { name: "kernels for GPUs", facts: likeGpu },
  { name: "kernels for GPUs, small workgroup memory", facts: { ...likeGpu, workgroupMemory: 16384, subgroup: null } },
  { name: "fast workgroup memory, few cores", facts: { fastWorkgroupMemory: true, manyCores: false } },
  { name: "slow workgroup memory, many cores", facts: { fastWorkgroupMemory: false, manyCores: true } },
  { name: "eight storage buffers", facts: { maxStorageBuffers: 8 } },
  { name: "ten storage buffers, kernels for GPUs", facts: { ...likeGpu, maxStorageBuffers: 10 } },
  { name: "parameters in several parts", facts: { maxBinding: 256 } },
  { name: "plain rows", force: { contraction: "rows-plain" }, regime: "prefill" },
  { name: "delta rule token by token", force: { delta: "delta-recurrent" } },
  { name: "delta rule in chunks", force: { delta: "delta-chunked" } },
  { name: "two workgroups in a row", workgroups: 2 },
  { name: "weights in bf16", storage: "bf16" },
  { name: "weights in f16, 128 invocations", storage: "f16", facts: { maxInvocations: 128 } },
];

/** One of those that the adapter can run; kernels for GPUs take a software adapter far longer to compile, so they come less often. */
export function drawVariant(gpu: TestGpu, draw: Draw): Variant {
  const able = variantsFor(gpu);
  const own =
    draw.next() < 0.2
      ? able
      : able.filter(
          ({ facts }) =>
            (facts?.fastWorkgroupMemory ?? gpu.facts.fastWorkgroupMemory) === gpu.facts.fastWorkgroupMemory,
        );
  return draw.of(own);
}

/** Those that the adapter can run. */
export function variantsFor({ facts }: TestGpu): readonly Variant[] {
  return variants.filter(({ force }) => Object.values(force ?? {}).every((name) => canRun(name, facts)));
}

/** A software adapter spends its time on compiling: less of its optimizer is more programs. Before one is opened. */
export function hurryAdapter(): void {
  process.env["GALLIVM_PERF"] ??= "nopt";
  process.env["LP_NATIVE_VECTOR_WIDTH"] ??= "128";
}
