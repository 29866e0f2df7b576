/** WGSL reads what the row of each format says that its codes are: by columns of a matrix, by runs of an array, by element. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  loadColumns,
  loadElement,
  loadRun,
  typeOfWords,
  wordsOfColumns,
  wordsOfRun,
} from "../../../../compiler/codegen/wgsl/unpack.ts";
import { type Format, FORMATS, WEIGHT_FORMATS } from "../../../../compiler/plan/format.ts";
import { type TestGpu, bindingKey, openTestGpu } from "../../../support/gpu.ts";

let gpu: TestGpu;
beforeAll(async () => {
  gpu = await openTestGpu();
});
afterAll(() => gpu.close());

/** Bits of every finite number of a format, of f32 a sample; numbers that are denormal in f32 are left out, an adapter may flush those. */
function codesOf(format: Format): readonly number[] {
  const all = Array.from({ length: 2 ** Math.min(16, format.bits) }, (_, i) =>
    format.bits === 32 ? Math.imul(i, 0x9e3779b1) >>> 0 : i,
  );
  const room = { 4: Uint8Array, 8: Uint8Array, 16: Uint16Array, 32: Uint32Array }[format.bits];
  const values = format.widen(room.from(all));
  return all.filter((_, i) => {
    const size = Math.abs(values[i]!);
    return size === 0 || (size >= 2 ** -126 && Number.isFinite(size));
  });
}

/** Sixteen elements at a time: four columns times four rows, or four runs of four. */
const GROUP = 16;

describe.each(WEIGHT_FORMATS)("unpacking %s", (name) => {
  const format = FORMATS[name];

  it("gives every finite number exactly, by columns, by runs and by element", async () => {
    const codes = codesOf(format);
    const groups = Math.floor(codes.length / GROUP);
    const used = codes.slice(0, groups * GROUP);
    const words = new Uint32Array((used.length * format.bits) / 32);
    used.forEach((code, i) => {
      const bit = i * format.bits;
      words[bit >> 5] = words[bit >> 5]! | (code << (bit & 31));
    });
    const per = 32 / format.bits;
    const rows = Math.min(4, per);
    const each = Array.from({ length: GROUP }, (_, i) => i);
    /** So many words from word `first` of the group on. */
    const read = (first: number, count: number): string => {
      const own = Array.from({ length: count }, (_, i) => `words[base + ${first + i}u]`);
      return `${typeOfWords(count)}(${own.join(", ")})`;
    };
    const vector = wordsOfColumns(format);
    const run = wordsOfRun(format);
    const wgsl = `
@group(0) @binding(0) var<storage, read> words: array<u32>;
@group(0) @binding(1) var<storage, read_write> columns: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> runs: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> elements: array<f32>;
@compute @workgroup_size(8) fn main(@builtin(global_invocation_id) gid: vec3<u32>) {
  if (gid.x >= ${groups}u) { return; }
  let base = gid.x * ${(GROUP * format.bits) / 32}u;
  ${[0, 1, 2, 3]
    .map((k) => {
      const w = `let c${k} = ${read(Math.floor(k / rows) * vector, vector)};`;
      // A row that is known, and one that is not: half of the groups each.
      const known = loadColumns(format, `c${k}`, k % rows);
      const asked = loadColumns(format, `c${k}`, `(gid.x * 4u + ${k}u) % ${rows}u`);
      return `${w}\n  columns[gid.x * 4u + ${k}u] = select(${known}, ${asked}, gid.x % 2u == 1u);`;
    })
    .join("\n  ")}
  ${[0, 1, 2, 3]
    .map((r) => {
      const w = `let r${r} = ${read(Math.floor((4 * r) / per), run)};`;
      return `${w}\n  runs[gid.x * 4u + ${r}u] = ${loadRun(format, `r${r}`, `(gid.x * 16u + ${4 * r}u)`)};`;
    })
    .join("\n  ")}
  ${each.map((i) => `elements[gid.x * 16u + ${i}u] = ${loadElement(format, `words[base + ${Math.floor(i / per)}u]`, `(gid.x * 16u + ${i}u)`)};`).join("\n  ")}
}`;
    const bindings = ["words", "columns", "runs", "elements"].map((id) => ({ kind: "buffer", id }) as const);
    const results = [1, 2, 3].map(() => gpu.upload(new Float32Array(used.length)));
    const buffers = [gpu.upload(words), ...results];
    const kernel = {
      module: { id: "unpack", wgsl, workgroup: [8, 1, 1] as const, bindings: [], features: [] },
      grid: [Math.ceil(groups / 8), 1, 1] as const,
      bindings,
      constants: {},
    };
    await gpu.submit([
      await gpu.prepare(kernel, new Map(bindings.map((b, i) => [bindingKey(b), buffers[i] as GPUBuffer])), { T: 1 }),
    ]);
    const [byColumn, byRun, byElement] = await Promise.all(
      results.map(async (b) => new Float32Array(await gpu.read(b))),
    );
    const room = { 4: Uint8Array, 8: Uint8Array, 16: Uint16Array, 32: Uint32Array }[format.bits];
    const want = format.widen(room.from(used));
    const wrong: string[] = [];
    for (let i = 0; i < used.length; i++) {
      // Rows of k that lie together alternate, and after their four columns come those of the next.
      const inGroup = i % GROUP;
      const k = Math.floor(inGroup / (4 * rows)) * rows + (inGroup % rows);
      const column = Math.floor((inGroup % (4 * rows)) / rows);
      const found = [byColumn![i - inGroup + 4 * k + column], byRun![i], byElement![i]];
      if (found.some((x) => x !== want[i])) wrong.push(`${used[i]}: ${want[i]} came out as ${found.join(", ")}`);
    }
    expect(wrong.slice(0, 5)).toEqual([]);
  });
});
