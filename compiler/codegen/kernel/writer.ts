/**
 * Collects what one WGSL module needs while its body is being written: bindings, helper functions, workgroup variables,
 * override constants, features. Templates write the body; fusion hands them expressions that read through the same
 * writer, so a prologue or an epilogue may bind whatever it wants.
 */
import { sizeText, type WriteSize } from "../../ops/size-text.ts";
import { type Binding, isSizeSymbol, type KernelModule, SIZE_SYMBOLS, type SizeSymbol } from "../../plan/plan.ts";
import { helpers } from "../wgsl/builtin.ts";

/** The uniform of a step: one u32 per symbol, in the plan's order. */
const STEP = `struct Step { ${Object.keys(SIZE_SYMBOLS)
  .map((symbol) => `${symbol}: u32`)
  .join(", ")} }`;

export class KernelWriter {
  readonly #bindings: { binding: Binding; access: "uniform" | "read" | "write"; type: string; name: string }[] = [];
  readonly #helpers = new Set<string>();
  readonly #globals = new Map<string, string>();
  readonly #features = new Set<"subgroups" | "shader-f16">();
  readonly #constants = new Map<string, { type: string; value: number }>();
  #names = 0;

  /** Binds a buffer and returns its WGSL name; the same buffer, type and access give the same name. */
  bind(binding: Binding, type: string, access: "uniform" | "read" | "write"): string {
    const key = JSON.stringify(binding);
    const known = this.#bindings.find(
      (b) => JSON.stringify(b.binding) === key && b.type === type && b.access === access,
    );
    if (known !== undefined) return known.name;
    const name = access === "uniform" ? binding.kind : `${access === "write" ? "out" : "in"}${this.#bindings.length}`;
    this.#bindings.push({ binding, access, type, name });
    return name;
  }

  /** A symbol of the plan's sizes, as it is in this step. */
  step(symbol: SizeSymbol): string {
    this.#globals.set("step", STEP);
    return `${this.bind({ kind: "step" }, "Step", "uniform")}.${symbol}`;
  }

  /** A number that the host works out: the plan's scalars are one uniform of `count` of them. */
  scalar(at: number, count: number): string {
    const type = `array<vec4<f32>, ${Math.ceil(count / 4)}>`;
    return `${this.bind({ kind: "scalars" }, type, "uniform")}[${at >> 2}].${"xyzw"[at & 3]!}`;
  }

  /** A size as a u32 expression, what is known at run time only read from the step. */
  readonly size: WriteSize = (size) =>
    sizeText(size, (symbol) => {
      if (!isSizeSymbol(symbol)) throw new Error(`size ${size.key} is not known when a step runs`);
      return this.step(symbol);
    });

  /** Asks for a helper function of `wgsl/builtin.ts`. */
  use(helper: string): void {
    this.#helpers.add(helper);
    for (const inner of helpers[helper]?.uses ?? []) this.use(inner);
  }

  /** Declares a module-scope item once, e.g. `var<workgroup> tile: array<f32, 64>;`. */
  global(key: string, text: string): void {
    this.#globals.set(key, text);
  }

  /** An override constant; its value goes into the dispatch, so that one module serves several parts. */
  constant(name: string, value: number): string {
    this.#constants.set(name, { type: "u32", value });
    return name;
  }

  feature(name: "subgroups" | "shader-f16"): void {
    this.#features.add(name);
  }

  /** A fresh local name. */
  fresh(prefix: string): string {
    return `${prefix}${this.#names++}`;
  }

  get bindings(): readonly Binding[] {
    return this.#bindings.map((b) => b.binding);
  }

  get constants(): Readonly<Record<string, number>> {
    return Object.fromEntries([...this.#constants].map(([name, c]) => [name, c.value]));
  }

  /**
   * The whole module. `body` is the inside of `fn main`, which has `gid`, `wid`, `lid` (vec3<u32>), `lane` (local index),
   * `group` (flat workgroup index, x folded over y), `once` and, with the subgroups feature, `sg_lane` and `sg_size`.
   * `once` is 1, but a driver's compiler cannot know. It unrolls every loop whose bound it can find, short or not, into code
   * that takes seconds to make and is no faster to run; a bound times `once` keeps a loop a loop.
   */
  finish(id: string, workgroup: readonly [number, number, number], body: string): KernelModule {
    const sub = this.#features.has("subgroups");
    const text = [
      ...[...this.#features].map((f) => `enable ${f === "shader-f16" ? "f16" : f};`),
      ...[...this.#constants].map(([name, c]) => `override ${name}: ${c.type};`),
      ...this.#bindings.map(
        (b, i) =>
          `@group(0) @binding(${i}) var<${b.access === "uniform" ? "uniform" : b.access === "read" ? "storage, read" : "storage, read_write"}> ${b.name}: ${b.type};`,
      ),
      ...this.#globals.values(),
      ...[...this.#helpers].map((h) => helpers[h]?.text ?? ""),
      `@compute @workgroup_size(${workgroup.join(", ")})`,
      `fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(workgroup_id) wid: vec3<u32>, @builtin(local_invocation_id) lid: vec3<u32>,`,
      `        @builtin(local_invocation_index) lane: u32, @builtin(num_workgroups) groups: vec3<u32>${sub ? ",\n        @builtin(subgroup_invocation_id) sg_lane: u32, @builtin(subgroup_size) sg_size: u32" : ""}) {`,
      `  let group = wid.x + wid.y * groups.x;`,
      `  let once = min(groups.x, 1u);`,
      body,
      `}`,
    ];
    return {
      id,
      wgsl: text.filter((t) => t !== "").join("\n") + "\n",
      workgroup,
      bindings: this.#bindings.map((b) => b.access),
      features: [...this.#features],
    };
  }
}
