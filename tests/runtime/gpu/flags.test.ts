import { globals } from "webgpu";
import { expect, test } from "vitest";
import { BufferUsage, MapMode, ShaderStage } from "../../../runtime/gpu/flags.ts";

test("the flags are those that a device goes by", () => {
  const { GPUBufferUsage, GPUMapMode, GPUShaderStage } = globals as Readonly<Record<string, object>>;
  expect({ ...BufferUsage }).toEqual({ ...GPUBufferUsage });
  expect({ ...MapMode }).toEqual({ ...GPUMapMode });
  expect({ ...ShaderStage }).toEqual({ ...GPUShaderStage });
});
