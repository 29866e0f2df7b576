/** Products over tokens with random operands: the spec, the buffers it binds, and what must come out, in float64. */
import type { OuterSide, OuterSpec } from "../../compiler/codegen/kernel/outer/outer.ts";
import type { Binding } from "../../compiler/plan/plan.ts";
import { randomNumbers } from "./contraction-case.ts";
import { type Words, bindingKey } from "./gpu.ts";

export interface OuterShape {
  /** Tokens, or choices where grouped. */
  readonly tokens: number;
  readonly k: number;
  readonly n: number;
  readonly groups?: { readonly banks: number; readonly tileRows: number; readonly bankOf: (choice: number) => number };
  /** Leaves the expected values out, for timings. */
  readonly unchecked?: boolean;
}

export interface OuterCase {
  readonly spec: OuterSpec;
  readonly data: ReadonlyMap<string, Words>;
  readonly out: Binding;
  /** Of the result, [bank][k][n]. */
  readonly expected: Float64Array;
  /** Bytes of partial sums that a template has asked for. */
  readonly partial: () => { readonly binding: Binding; readonly elements: number } | null;
}

const buffer = (id: string): Binding => ({ kind: "buffer", id });

export function makeOuterCase(id: string, { tokens, k, n, groups, unchecked = false }: OuterShape): OuterCase {
  const banks = groups?.banks ?? 1;
  const left = randomNumbers(tokens * k, 1);
  const right = randomNumbers(tokens * n, 2);
  const out = buffer("out");
  const data = new Map<string, Words>([
    [bindingKey(buffer("left")), left],
    [bindingKey(buffer("right")), right],
  ]);
  const bank = Array.from({ length: tokens }, (_, t) => groups?.bankOf(t) ?? 0);
  if (groups !== undefined) {
    const [order, tiles] = sortChoices(bank, banks, groups.tileRows);
    data.set(bindingKey(buffer("order")), order).set(bindingKey(buffer("tiles")), tiles);
  }
  const expected = new Float64Array(banks * k * n);
  for (let t = 0; t < tokens && !unchecked; t++)
    for (let i = 0; i < k && bank[t]! < banks; i++)
      for (let j = 0; j < n; j++) expected[(bank[t]! * k + i) * n + j]! += left[t * k + i]! * right[t * n + j]!;
  let asked: { readonly binding: Binding; readonly elements: number } | null = null;
  const side =
    (name: string, length: number): OuterSide =>
    (w, width, token, place) =>
      `${w.bind(buffer(name), width === 4 ? "array<vec4<f32>>" : "array<f32>", "read")}[((${token}) * ${length}u + ${place}) / ${width}u]`;
  const spec: OuterSpec = {
    id,
    k,
    n,
    tokens: (w) => w.step("T"),
    left: side("left", k),
    right: side("right", n),
    groups:
      groups === undefined
        ? null
        : { banks, tileRows: groups.tileRows, order: buffer("order"), tiles: buffer("tiles") },
    partial: (elements) => {
      asked = { binding: buffer("partial"), elements };
      return asked.binding;
    },
    store: (w, width, row, col, [sum]) =>
      `${w.bind(out, width === 4 ? "array<vec4<f32>>" : "array<f32>", "write")}[(${row} * ${n}u + ${col}) / ${width}u] = ${sum};`,
  };
  return { spec, data, out, expected, partial: () => asked };
}

/** As the `group` kernel leaves them: choices by bank, a place for each tile, and each bank's first choice and how many it has. */
function sortChoices(bank: readonly number[], banks: number, tileRows: number): readonly [Uint32Array, Uint32Array] {
  const order: number[] = [];
  const bounds: number[] = [];
  for (let b = 0; b < banks; b++) {
    const first = order.length;
    bank.forEach((x, choice) => x === b && order.push(choice));
    bounds.push(b, first, order.length - first, 0);
  }
  const room = Math.ceil(bank.length / tileRows) + Math.min(banks, bank.length);
  const tiles = new Uint32Array(4 * (room + banks));
  tiles.set(bounds, 4 * room);
  return [Uint32Array.from(order), tiles];
}
