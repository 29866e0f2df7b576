import { afterAll, beforeAll, expect, test } from "vitest";
import type { OpName } from "../../../compiler/graph/attrs.ts";
import { Dim } from "../../../compiler/graph/dim.ts";
import type { TensorType } from "../../../compiler/graph/type.ts";
import type { Lanes, OpDef } from "../../../compiler/ops/define.ts";
import { isMismatch } from "../../../compiler/ops/mismatch.ts";
import { sizeText } from "../../../compiler/ops/size-text.ts";
import { ops } from "../../../compiler/ops/table.ts";
import { arrange, sizedAxes } from "../../../compiler/ops/values.ts";
import { helpers } from "../../../compiler/codegen/wgsl/builtin.ts";
import type { TestGpu } from "../../support/gpu.ts";
import { openTestGpu } from "../../support/gpu.ts";
import type { SampleCase } from "./samples.ts";
import { fixedSize, sampleCases } from "./samples.ts";

let gpu: TestGpu;
beforeAll(async () => {
  gpu = await openTestGpu();
});
afterAll(() => gpu.close());

const mapCases = sampleCases.filter((s) => rowOf(s.op).lowering.kind === "map");
const viewCases = sampleCases.filter((s) => rowOf(s.op).lowering.kind === "view");

test.each([1, 4] as const)("every map's WGSL with %i lanes gives its samples", async (lanes) => {
  const results = await runModule(mapCases, (sample, first) => mapText(sample, first, lanes));
  mapCases.forEach((sample, c) => expectClose(results[c]!, sample));
});

test("every view's WGSL index finds the sample's elements", async () => {
  const results = await runModule(viewCases, viewText);
  viewCases.forEach((sample, c) => expectClose(results[c]!, sample));
});

test("a symbolic size is an integer expression that never goes below zero on the way", () => {
  const text = (size: Dim): string => sizeText(size, (symbol) => symbol);
  expect(text(Dim.of(48))).toBe("48u");
  expect(text(Dim.of("T"))).toBe("T");
  expect(text(Dim.of("T").minus(Dim.of(1)))).toBe("(T - 1u)");
  expect(text(Dim.of("T").times(Dim.of("K")).over(Dim.of("N"))!.plus(Dim.of(2)))).toBe("(((K * T) / N) + 2u)");
  expect(text(Dim.of("T").over(Dim.of(3))!)).toBe("(T / 3u)");
});

function rowOf(op: OpName): OpDef<OpName> {
  return ops[op] as unknown as OpDef<OpName>;
}

function outputType(sample: SampleCase): TensorType {
  const type = rowOf(sample.op).infer(sample.types, sample.attrs);
  if (isMismatch(type)) throw new Error(type.message);
  return type;
}

/** Operands are loads, so that nothing is folded while compiling. Results go to `o`, inputs come from `x`, both from `first`. */
function mapText(sample: SampleCase, first: number, lanes: Lanes): readonly string[] {
  const { lowering } = rowOf(sample.op);
  if (lowering.kind !== "map") throw new Error("not a map");
  const count = sample.output.length;
  const dtype = sample.types.at(-1)?.dtype ?? "f32";
  return sample.output.map((_, k) => {
    const operands = sample.types.map((type, i) => {
      const load = `x[${first + i * count + k}]`;
      const one = type.dtype === "bool" ? `(${load} != 0.0)` : `${type.dtype}(${load})`;
      return lanes === 4 ? `vec4<${type.dtype}>(${one})` : one;
    });
    const value = lowering.scalar(operands, sample.attrs, dtype, lanes);
    return `o[${first + k}] = f32(${value}${lanes === 4 ? ".z" : ""});`;
  });
}

function viewText(sample: SampleCase, first: number): readonly string[] {
  const { lowering } = rowOf(sample.op);
  const [input] = sample.types;
  if (lowering.kind !== "view" || input === undefined) throw new Error("not a view");
  const axes = sizedAxes(outputType(sample), fixedSize);
  return sample.output.map((_, k) => {
    let rest = k;
    const out = new Map<string, string>();
    for (const axis of [...axes].reverse()) {
      out.set(axis.name, `u32(x[0] * 0.0) + ${rest % axis.size}u`);
      rest = Math.floor(rest / axis.size);
    }
    const parenthesised = new Map([...out].map(([label, i]) => [label, `(${i})`]));
    const index = lowering.index(parenthesised, sample.attrs, input, (size) => `${fixedSize(size)}u`);
    expect([...index.keys()].sort()).toEqual(input.axes.map((a) => a.name).sort());
    const flat = input.axes.reduce((sum, a) => `(${sum} * ${fixedSize(a.size)}u + ${index.get(a.name)})`, "0u");
    return `o[${first + k}] = x[${first}u + ${flat}];`;
  });
}

/** Runs all cases in one invocation of one module; `x` holds each case's operands broadcast to the output's axes for maps. */
async function runModule(
  cases: readonly SampleCase[],
  text: (sample: SampleCase, first: number) => readonly string[],
): Promise<readonly (readonly number[])[]> {
  const data: number[] = [];
  const firsts: number[] = [];
  const lines = cases.flatMap((sample) => {
    firsts.push(data.length);
    const axes = sizedAxes(outputType(sample), fixedSize);
    const isMap = rowOf(sample.op).lowering.kind === "map";
    for (const value of sample.values) data.push(...(isMap ? arrange(value, axes) : value).data);
    while (data.length < firsts.at(-1)! + sample.output.length) data.push(0);
    return text(sample, firsts.at(-1)!);
  });
  const code = `${Object.values(helpers)
    .map((h) => h.text)
    .join("\n")}
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> o: array<f32>;
@compute @workgroup_size(1) fn main() {\n${lines.join("\n")}\n}`;
  const { device } = gpu;
  const module = device.createShaderModule({ code });
  expect((await module.getCompilationInfo()).messages.map((m) => m.message)).toEqual([]);
  const pipeline = await device.createComputePipelineAsync({ layout: "auto", compute: { module } });
  const input = gpu.upload(Float32Array.from(data));
  const output = gpu.upload(new Float32Array(data.length));
  const entries = [input, output].map((buffer, binding) => ({ binding, resource: { buffer } }));
  const group = device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries });
  await gpu.submit([{ pipeline, group, grid: [1, 1, 1] }]);
  const result = new Float32Array(await gpu.read(output));
  return cases.map((sample, c) => [...result.subarray(firsts[c], firsts[c]! + sample.output.length)]);
}

function expectClose(found: readonly number[], sample: SampleCase): void {
  sample.output.forEach((e, i) =>
    expect(Math.abs(found[i]! - e), `${sample.label}: ${found[i]} for ${e}`).toBeLessThan(
      1e-5 * Math.max(1, Math.abs(e)),
    ),
  );
}
