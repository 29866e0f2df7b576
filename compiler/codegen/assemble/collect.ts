/** What a plan is collected in: buffers by id, modules without duplicates, classes of temporaries that share memory. */
import type { DType } from "../../graph/type.ts";
import { memoryType } from "../lower/text.ts";
import type { Buffer, KernelModule, Size } from "../../plan/plan.ts";
import { heldBytes } from "../../plan/plan.ts";
import type { StoreType } from "../../plan/store.ts";

/** A temporary and the steps of its function between which it has to keep its contents, both included. */
export interface Lifetime {
  readonly id: string;
  readonly dtype: DType;
  readonly elements: Size;
  readonly store: StoreType;
  readonly from: number;
  readonly to: number;
}

/** Sizes for which temporaries are matched to classes; any would be correct. */
const TYPICAL = { T: 256, Q: 256, S: 1, P: 2048 };

export class Collector {
  readonly #buffers = new Map<string, Buffer>();
  readonly #modules = new Map<string, KernelModule>();

  get buffers(): readonly Buffer[] {
    return [...this.#buffers.values()];
  }

  get modules(): readonly KernelModule[] {
    return [...this.#modules.values()];
  }

  /** What a buffer's elements f32 are in memory. */
  storeOf(id: string): StoreType {
    return this.#buffers.get(id)?.store ?? "f32";
  }

  buffer(
    id: string,
    dtype: DType,
    elements: Size,
    more: Partial<Pick<Buffer, "role" | "name" | "store" | "share" | "kept">> = {},
  ): string {
    const buffer: Buffer = {
      id,
      role: "temporary",
      name: id,
      type: memoryType(dtype),
      elements,
      store: "f32",
      share: null,
      kept: null,
      ...more,
    };
    const known = this.#buffers.get(id);
    if (known === undefined) this.#buffers.set(id, buffer);
    else if (JSON.stringify(known) !== JSON.stringify(buffer)) throw new Error(`two different buffers ${id}`);
    return id;
  }

  /** The id of a module with this text; the first asker's label and origin head it. */
  module(module: KernelModule, label: string, origin: string | null): string {
    const known = this.#modules.get(module.wgsl);
    if (known !== undefined) return known.id;
    const id = `k${this.#modules.size}`;
    const header = `// ${label}${origin === null ? "" : ` (${origin})`}\n`;
    this.#modules.set(module.wgsl, { ...module, id, wgsl: header + module.wgsl });
    return id;
  }

  /**
   * Puts temporaries of one function into classes named after `pool`: two of a class never live at the same step. Pools of
   * functions that never run at the same time may have the same name.
   */
  temporaries(pool: string, lifetimes: readonly Lifetime[]): void {
    const classes: { readonly size: number; readonly members: Lifetime[] }[] = [];
    const size = (l: Lifetime): number => heldBytes(l, TYPICAL);
    // The largest first: the classes they open are the ones the small ones then share.
    for (const life of [...lifetimes].sort((a, b) => size(b) - size(a))) {
      const free = classes.find((c) => c.members.every((m) => m.to < life.from || life.to < m.from));
      if (free === undefined) classes.push({ size: size(life), members: [life] });
      else free.members.push(life);
    }
    classes.forEach(({ members }, i) =>
      members.forEach((m) => this.buffer(m.id, m.dtype, m.elements, { store: m.store, share: `${pool}${i}` })),
    );
  }
}
