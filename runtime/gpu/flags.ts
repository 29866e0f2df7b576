/**
 * WebGPU's flags by the numbers of its specification (https://www.w3.org/TR/webgpu/): not every program that has a device has their names
 * in its global scope, and nothing here puts them there.
 */

type Flags<Names> = { readonly [Name in Exclude<keyof Names, "prototype">]: number };

export const BufferUsage = {
  MAP_READ: 0x0001,
  MAP_WRITE: 0x0002,
  COPY_SRC: 0x0004,
  COPY_DST: 0x0008,
  INDEX: 0x0010,
  VERTEX: 0x0020,
  UNIFORM: 0x0040,
  STORAGE: 0x0080,
  INDIRECT: 0x0100,
  QUERY_RESOLVE: 0x0200,
} as const satisfies Flags<typeof GPUBufferUsage>;

export const MapMode = { READ: 0x1, WRITE: 0x2 } as const satisfies Flags<typeof GPUMapMode>;

export const ShaderStage = { VERTEX: 0x1, FRAGMENT: 0x2, COMPUTE: 0x4 } as const satisfies Flags<typeof GPUShaderStage>;
