/**
 * A WebAssembly module written as data: just enough of the binary format for loops over vectors. Format: the WebAssembly
 * core specification, chapter 5; a module here imports one memory and exports functions of 32-bit numbers.
 */

/** What is used of the engine's own interface, which belongs to no standard library of TypeScript's but the browser's. */
interface Engine {
  readonly Memory: new (limits: {
    readonly initial: number;
    readonly maximum: number;
    readonly shared: true;
  }) => Memory;
  readonly Module: new (bytes: Uint8Array) => Module;
  readonly Instance: new (
    module: Module,
    imports: { readonly env: { readonly memory: Memory } },
  ) => { readonly exports: unknown };
}

export interface Memory {
  readonly buffer: SharedArrayBuffer;
}

declare const compiled: unique symbol;
export interface Module {
  readonly [compiled]: true;
}

const engine = (globalThis as unknown as { readonly WebAssembly: Engine }).WebAssembly;

/** Zeros, in pages of 64 KiB, which other threads may see. */
export const createMemory = (pages: number): Memory =>
  new engine.Memory({ initial: pages, maximum: pages, shared: true });

export const compile = (functions: readonly FunctionSpec[]): Module => new engine.Module(encodeModule(functions));

/** The functions of a module on a memory, by name. */
export const instantiate = (module: Module, memory: Memory): unknown =>
  new engine.Instance(module, { env: { memory } }).exports;

type Instruction = readonly number[];

const I32 = 0x7f;
const F32 = 0x7d;
const V128 = 0x7b;
const TYPES = { i32: I32, f32: F32, v128: V128 } as const;
type NumberType = keyof typeof TYPES;

export interface FunctionSpec {
  readonly name: string;
  readonly parameters: readonly NumberType[];
  readonly result: NumberType | null;
  /** Beside the parameters, numbered after them. */
  readonly locals: readonly NumberType[];
  readonly body: readonly Instruction[];
}

/** The bytes of a module that takes its memory from `env.memory`. */
function encodeModule(functions: readonly FunctionSpec[]): Uint8Array<ArrayBuffer> {
  const type = ({ parameters, result }: FunctionSpec): number[] => [
    0x60,
    ...vector(parameters.map((p) => [TYPES[p]])),
    ...vector(result === null ? [] : [[TYPES[result]]]),
  ];
  const code = ({ locals, body }: FunctionSpec): number[] => {
    const bytes = [...vector(locals.map((l) => [1, TYPES[l]])), ...body.flat(), 0x0b];
    return [...unsigned(bytes.length), ...bytes];
  };
  return Uint8Array.from([
    ...[0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00],
    ...section(1, functions.map(type)),
    ...section(2, [[...text("env"), ...text("memory"), 0x02, 0x03, 0x01, ...unsigned(0x10000)]]),
    ...section(
      3,
      functions.map((_, i) => unsigned(i)),
    ),
    ...section(
      7,
      functions.map(({ name }, i) => [...text(name), 0x00, ...unsigned(i)]),
    ),
    ...section(10, functions.map(code)),
  ]);
}

const simd = (code: number, ...rest: readonly number[]): Instruction => [0xfd, ...unsigned(code), ...rest];
const at = (offset: number): readonly number[] => [0, ...unsigned(offset)];

/** Instructions by the names of the specification, without their dots and shapes. */
export const op = {
  get: (local: number): Instruction => [0x20, ...unsigned(local)],
  set: (local: number): Instruction => [0x21, ...unsigned(local)],
  tee: (local: number): Instruction => [0x22, ...unsigned(local)],
  i32: (value: number): Instruction => [0x41, ...signed(value)],
  add: [0x6a] as Instruction,
  or: [0x72] as Instruction,
  less: [0x49] as Instruction,
  /** Begins again while the condition on the stack holds. */
  loop: [0x03, 0x40] as Instruction,
  again: [0x0d, 0x00, 0x0b] as Instruction,
  load: (offset: number): Instruction => simd(0x00, ...at(offset)),
  /** Sets bytes of memory: where, to what, how many. */
  fill: [0xfc, 0x0b, 0x00] as Instruction,
  /** Four 16-bit elements as 32 bits each. */
  loadHalves: (offset: number): Instruction => simd(0x04, ...at(offset)),
  store: (offset: number): Instruction => simd(0x0b, ...at(offset)),
  splatI32: simd(0x11),
  splatF32: simd(0x13),
  lane: (lane: number): Instruction => simd(0x1b, lane),
  greater: simd(0x3b),
  and: simd(0x4e),
  orVector: simd(0x50),
  select: simd(0x52),
  narrow: simd(0x86),
  shiftLeft: simd(0xab),
  shiftRight: simd(0xad),
  addI32: simd(0xae),
  addF32: simd(0xe4),
  multiplyF32: simd(0xe6),
} as const;

function section(id: number, items: readonly (readonly number[])[]): number[] {
  const bytes = vector(items);
  return [id, ...unsigned(bytes.length), ...bytes];
}

function vector(items: readonly (readonly number[])[]): number[] {
  return [...unsigned(items.length), ...items.flat()];
}

function text(value: string): number[] {
  return vector([...new TextEncoder().encode(value)].map((byte) => [byte]));
}

/** LEB128, seven bits a byte. */
function unsigned(value: number): number[] {
  return value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...unsigned(value >>> 7)];
}

function signed(value: number): number[] {
  const rest = value >> 7;
  const ends = (rest === 0 && (value & 0x40) === 0) || (rest === -1 && (value & 0x40) !== 0);
  return ends ? [value & 0x7f] : [(value & 0x7f) | 0x80, ...signed(rest)];
}
