/**
 * Pipelines of kernel modules, made once per device, WGSL text and constants, all of a list at the same time. Bind group
 * layouts are explicit and shared by signature, so that bindings which a kernel does not use do not matter. A shader that
 * a device rejects is a bug of the compiler; the error still says which kernel, which WGSL line and which `.moe` line.
 */
import type { Dispatch, KernelModule } from "../../compiler/plan/plan.ts";
import { failure, type MoeError } from "../../grammar/diagnostic.ts";
import type { Device } from "./device.ts";
import { ShaderStage } from "./flags.ts";

export interface Pipeline {
  readonly handle: GPUComputePipeline;
  readonly groupLayout: GPUBindGroupLayout;
}

/** What of a dispatch decides its pipeline, and what an error about it says. */
export type PipelineNeed = Pick<Dispatch, "constants" | "label" | "origin"> & { readonly module: KernelModule };

export class Pipelines {
  readonly #device: Device;
  readonly #modules = new Map<string, GPUShaderModule>();
  readonly #layouts = new Map<string, { readonly group: GPUBindGroupLayout; readonly pipeline: GPUPipelineLayout }>();
  readonly #made = new Map<string, Promise<Pipeline>>();

  private constructor(device: Device) {
    this.#device = device;
  }

  static readonly #ofDevice = new WeakMap<Device, Pipelines>();

  /** The pipelines of a device: one cache for all plans that run on it. */
  static of(device: Device): Pipelines {
    const known = Pipelines.#ofDevice.get(device) ?? new Pipelines(device);
    Pipelines.#ofDevice.set(device, known);
    return known;
  }

  /** How many were made so far. */
  get count(): number {
    return this.#made.size;
  }

  /** Pipelines of several dispatches, in their order, compiled at once. Throws `kernel/rejected`. */
  async make(needs: readonly PipelineNeed[]): Promise<readonly Pipeline[]> {
    this.#device.check();
    const settled = await this.#device.wait(Promise.allSettled(needs.map((need) => this.#one(need))));
    const failed = settled.find((s) => s.status === "rejected");
    if (failed !== undefined) throw failed.reason;
    return settled.map((s) => (s as PromiseFulfilledResult<Pipeline>).value);
  }

  #one(need: PipelineNeed): Promise<Pipeline> {
    const sorted = Object.entries(need.constants).sort(([a], [b]) => (a < b ? -1 : 1));
    const key = `${need.module.bindings.join()} ${JSON.stringify(sorted)} ${need.module.wgsl}`;
    let made = this.#made.get(key);
    if (made === undefined) {
      made = this.#create(need);
      this.#made.set(key, made);
    }
    return made;
  }

  async #create(need: PipelineNeed): Promise<Pipeline> {
    const { module, label } = need;
    const layout = this.#layout(module.bindings);
    const { gpu } = this.#device;
    // The scope keeps the error from being printed; the compilation info below says the same with line numbers.
    gpu.pushErrorScope("validation");
    const shader = this.#modules.get(module.wgsl) ?? gpu.createShaderModule({ code: module.wgsl, label: module.id });
    void gpu.popErrorScope();
    this.#modules.set(module.wgsl, shader);
    try {
      const handle = await gpu.createComputePipelineAsync({
        label,
        layout: layout.pipeline,
        compute: { module: shader, entryPoint: "main", constants: { ...need.constants } },
      });
      return { handle, groupLayout: layout.group };
    } catch (error) {
      const { messages } = await shader.getCompilationInfo();
      throw rejected(need, messages, error);
    }
  }

  #layout(bindings: KernelModule["bindings"]): {
    readonly group: GPUBindGroupLayout;
    readonly pipeline: GPUPipelineLayout;
  } {
    const key = bindings.join();
    const known = this.#layouts.get(key);
    if (known !== undefined) return known;
    const types = { uniform: "uniform", read: "read-only-storage", write: "storage" } as const;
    const { gpu } = this.#device;
    const group = gpu.createBindGroupLayout({
      entries: bindings.map((b, binding) => ({
        binding,
        visibility: ShaderStage.COMPUTE,
        buffer: { type: types[b] },
      })),
    });
    const made = { group, pipeline: gpu.createPipelineLayout({ bindGroupLayouts: [group] }) };
    this.#layouts.set(key, made);
    return made;
  }
}

function rejected(need: PipelineNeed, messages: readonly GPUCompilationMessage[], error: unknown): MoeError {
  const lines = need.module.wgsl.split("\n");
  const notes = messages
    .filter((m) => m.type === "error")
    .map((m) => `line ${m.lineNum}: ${m.message}: \`${lines[m.lineNum - 1]?.trim() ?? ""}\``);
  // Without messages the text itself was accepted, and its use was not: a limit, a binding, a constant.
  if (notes.length === 0) notes.push(String(error instanceof Error ? error.message : error));
  return failure(
    "kernel/rejected",
    `the kernel \`${need.label}\` (module ${need.module.id}) was rejected by the device`,
    {
      notes: [...(need.origin === null ? [] : [`it computes ${need.origin}`]), ...notes],
      help: "this is a bug of the compiler: report the model and this message",
    },
  );
}
