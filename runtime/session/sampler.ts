/**
 * The last kernels of a generation step: pick a token from each row of logits, and make it the next step's input. Ids and
 * positions never leave the GPU between steps; the host only reads a copy of the ids.
 */
import type { Binding, KernelModule } from "../../compiler/plan/plan.ts";
import { BufferUsage } from "../gpu/flags.ts";
import type { Encodes, Executor } from "../gpu/execute.ts";
import { type Pipeline, Pipelines } from "../gpu/pipelines.ts";

/** How tokens are drawn; see `compiler/codegen/kernel/sample.ts` for the exact order of the filters. */
export interface Sampling {
  /** 0 takes the most probable token. */
  readonly temperature: number;
  /** 0: all. */
  readonly topK: number;
  /** 1: all. */
  readonly topP: number;
  readonly seed: number;
}

/** A row of logits: the position of the token that they follow, and the stream of random numbers it draws from. */
export interface SampledRow {
  readonly position: number;
  readonly stream: number;
}

/** Below, dividing by it passes what float32 holds: the most probable token is what is left in the limit. Above, all are alike. */
const COLDEST = 1e-38;
const HOTTEST = 1e38;

/** After sampling: the ids and positions of the next step of the same rows. */
const advanceModule = (noToken: number): KernelModule => ({
  id: "advance",
  workgroup: [64, 1, 1],
  bindings: ["read", "write", "write", "write"],
  features: [],
  wgsl: `@group(0) @binding(0) var<storage, read> next: array<u32>;
@group(0) @binding(1) var<storage, read_write> follows: array<u32>;
@group(0) @binding(2) var<storage, read_write> ids: array<u32>;
@group(0) @binding(3) var<storage, read_write> position: array<u32>;
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let row = id.x;
  if (row >= arrayLength(&next) || row >= arrayLength(&ids)) { return; }
  follows[row] += 1u;
  // A row whose logits were not finite has no token; the host ends it, but the next step may be under way.
  ids[row] = select(next[row], 0u, next[row] == ${noToken}u);
  if (row < arrayLength(&position)) { position[row] = follows[row]; }
}
`,
});

export class Sampler {
  /** u32 [rows]: the tokens picked last. */
  readonly next: GPUBuffer;
  /** What is picked of a row with a logit that is NaN or infinite. */
  readonly noToken: number;
  readonly #executor: Executor;
  /** Words of a row of settings. */
  readonly #settingsWords: number;
  readonly #settings: GPUBuffer;
  readonly #follows: GPUBuffer;
  /** Stands in for the input `position` of a model that has none. */
  readonly #unused: GPUBuffer;
  readonly #sample: { readonly pipeline: Pipeline; readonly bindings: readonly Binding[] };
  readonly #advance: Pipeline;
  #groups: { readonly sample: GPUBindGroup; readonly advance: GPUBindGroup; readonly generation: number } | null = null;

  private constructor(
    executor: Executor,
    rows: number,
    { noToken, settingsWords }: { readonly noToken: number; readonly settingsWords: number },
    sample: { readonly pipeline: Pipeline; readonly bindings: readonly Binding[] },
    advance: Pipeline,
  ) {
    this.#executor = executor;
    this.noToken = noToken;
    this.#settingsWords = settingsWords;
    this.#sample = sample;
    this.#advance = advance;
    const create = (label: string, words: number): GPUBuffer =>
      executor.device.gpu.createBuffer({
        label,
        size: Math.max(16, words * 4),
        usage: BufferUsage.STORAGE | BufferUsage.COPY_SRC | BufferUsage.COPY_DST,
      });
    this.next = create("sampled tokens", rows);
    this.#settings = create("sampling settings", rows * settingsWords);
    this.#follows = create("sampled positions", rows);
    this.#unused = create("no positions", rows);
  }

  /** For rows of `vocab` logits, at most `rows` at a time. */
  static async create(executor: Executor, vocab: number, rows: number): Promise<Sampler> {
    // Only who generates loads the compiler, of which this is one template: a saved plan runs without it.
    const { emitSample, NO_TOKEN, SETTINGS_WORDS } = await import("../../compiler/index.ts");
    const { module, bindings } = emitSample(vocab, executor.device.facts);
    const none = { constants: {}, origin: null };
    const [sample, advance] = await Pipelines.of(executor.device).make([
      { module, label: "sample", ...none },
      { module: advanceModule(NO_TOKEN), label: "advance", ...none },
    ]);
    return new Sampler(
      executor,
      rows,
      { noToken: NO_TOKEN, settingsWords: SETTINGS_WORDS },
      { pipeline: sample!, bindings },
      advance!,
    );
  }

  /** Says what the rows of the next step are. Steps that follow with `advance` keep count themselves. */
  load(rows: readonly SampledRow[], sampling: Sampling): void {
    const words = new Uint32Array(rows.length * this.#settingsWords);
    const floats = new Float32Array(words.buffer);
    rows.forEach(({ stream }, i) => {
      const first = i * this.#settingsWords;
      floats[first] = sampling.temperature < COLDEST ? 0 : Math.min(sampling.temperature, HOTTEST);
      words[first + 1] = sampling.topK;
      floats[first + 2] = sampling.topP;
      words[first + 3] = sampling.seed;
      words[first + 4] = stream;
    });
    const { queue } = this.#executor.device.gpu;
    queue.writeBuffer(this.#settings, 0, words);
    queue.writeBuffer(
      this.#follows,
      0,
      Uint32Array.from(rows, (row) => row.position),
    );
  }

  /** Picks from the first `rows` rows of the logits; with `advance` it also prepares the next step's inputs. */
  encode(rows: number, logits: string, advance: boolean): Encodes {
    const groups = this.#bind(logits);
    return {
      pass: (pass) => {
        pass.setPipeline(this.#sample.pipeline.handle);
        pass.setBindGroup(0, groups.sample);
        pass.dispatchWorkgroups(rows);
        if (!advance) return;
        pass.setPipeline(this.#advance.handle);
        pass.setBindGroup(0, groups.advance);
        pass.dispatchWorkgroups(Math.ceil(rows / 64));
      },
    };
  }

  destroy(): void {
    for (const buffer of [this.next, this.#settings, this.#follows, this.#unused]) buffer.destroy();
  }

  #bind(logits: string): { readonly sample: GPUBindGroup; readonly advance: GPUBindGroup } {
    const { buffers, plan } = this.#executor;
    if (this.#groups?.generation === buffers.generation) return this.#groups;
    const input = (name: string): { readonly buffer: GPUBuffer; readonly size?: number } => {
      const declared = plan.buffers.find((b) => b.role === "input" && b.name === name);
      return declared === undefined ? { buffer: this.#unused } : buffers.find({ kind: "buffer", id: declared.id });
    };
    const own: Readonly<Record<string, { readonly buffer: GPUBuffer; readonly size?: number }>> = {
      logits: buffers.find({ kind: "buffer", id: logits }),
      settings: { buffer: this.#settings },
      position: { buffer: this.#follows },
      next: { buffer: this.next },
    };
    const sampled = this.#sample.bindings.map((b) => own[b.kind === "buffer" ? b.id : ""]!);
    const advanced = [own["next"]!, own["position"]!, input("ids"), input("position")];
    this.#groups = {
      sample: this.#executor.bind(this.#sample.pipeline, sampled, "sample"),
      advance: this.#executor.bind(this.#advance, advanced, "advance"),
      generation: buffers.generation,
    };
    return this.#groups;
  }
}
