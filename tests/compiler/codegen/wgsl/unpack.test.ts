import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type PackedType, unpackElement, unpackRows } from "../../../../compiler/codegen/wgsl/unpack.ts";
import { type TestGpu, bindingKey, openTestGpu } from "../../../support/gpu.ts";
import { decodeHalf } from "../../../support/matrix.ts";

let gpu: TestGpu;
beforeAll(async () => {
  gpu = await openTestGpu();
});
afterAll(() => gpu.close());

/** Every finite pattern; bf16 whose f32 is a denormal are left out, since an adapter may flush those. */
function patternsOf(storage: PackedType): readonly number[] {
  const all = Array.from({ length: 0x10000 }, (_, i) => i);
  return all.filter((bits) => {
    const exponent = storage === "f16" ? (bits >> 10) & 31 : (bits >> 7) & 255;
    return storage === "f16" ? exponent !== 31 : exponent !== 255 && (exponent !== 0 || (bits & 127) === 0);
  });
}

describe.each(["f16", "bf16"] as const)("unpacking %s", (storage) => {
  it("gives every finite number exactly, by rows and by element", async () => {
    const patterns = patternsOf(storage);
    // Groups of eight patterns: four columns times an even and an odd row.
    const groups = Math.floor(patterns.length / 8);
    const words = Uint32Array.from(
      { length: groups * 4 },
      (_, i) => (patterns[2 * i] as number) | ((patterns[2 * i + 1] as number) << 16),
    );
    const { even, odd } = unpackRows(storage, "w");
    const one = (i: number): string => unpackElement(storage, `w[${i >> 1}u]`, `${i}u`);
    const wgsl = `
@group(0) @binding(0) var<storage, read> words: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read_write> rows: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> elements: array<f32>;
@compute @workgroup_size(8) fn main(@builtin(global_invocation_id) gid: vec3<u32>) {
  if (gid.x >= ${groups}u) { return; }
  let w = words[gid.x];
  rows[gid.x * 2u] = ${even};
  rows[gid.x * 2u + 1u] = ${odd};
  ${Array.from({ length: 8 }, (_, i) => `elements[gid.x * 8u + ${i}u] = ${one(i)};`).join("\n  ")}
}`;
    const bindings = ["words", "rows", "elements"].map((id) => ({ kind: "buffer", id }) as const);
    const [rows, elements] = [gpu.upload(new Float32Array(groups * 8)), gpu.upload(new Float32Array(groups * 8))];
    const buffers = [gpu.upload(words), rows, elements];
    const kernel = {
      module: { id: "unpack", wgsl, workgroup: [8, 1, 1] as const, bindings: [], features: [] },
      grid: [Math.ceil(groups / 8), 1, 1] as const,
      bindings,
      constants: {},
    };
    await gpu.submit([
      await gpu.prepare(kernel, new Map(bindings.map((b, i) => [bindingKey(b), buffers[i] as GPUBuffer])), { T: 1 }),
    ]);
    const byRow = new Float32Array(await gpu.read(rows));
    const byElement = new Float32Array(await gpu.read(elements));
    const wrong: string[] = [];
    for (let i = 0; i < groups * 8; i++) {
      const want = decodeHalf(storage, patterns[i] as number);
      const row = byRow[(i >> 3) * 8 + (i & 1) * 4 + ((i & 7) >> 1)] as number;
      if (row !== want || byElement[i] !== want)
        wrong.push(`${patterns[i]}: ${want} came out as ${row} and ${byElement[i]}`);
    }
    expect(wrong.slice(0, 5)).toEqual([]);
  });
});
