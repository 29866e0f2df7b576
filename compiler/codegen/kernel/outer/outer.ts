/**
 * What a product over tokens is asked for: for every pair of a row k of the left side and a column n of the right one, the sum over tokens of
 * their product, as the gradient of a weight is. Grouped, each bank has a sum of its own, over the choices of that bank. Fusion fills this in;
 * the templates beside this file turn it into WGSL, one per kind of device, and may use nothing else.
 *
 * A workgroup owns a block of the result and walks over all its tokens in order, so that no sum depends on timing and none needs atomics.
 */
import type { Binding, DeviceFacts } from "../../../plan/plan.ts";
import type { EmittedKernel } from "../contraction/contraction.ts";
import type { KernelWriter } from "../writer.ts";

export interface OuterSpec {
  readonly id: string;
  /** Rows and columns of the result, in each bank. */
  readonly k: number;
  readonly n: number;
  /** WGSL: tokens, or choices where grouped. */
  readonly tokens: (w: KernelWriter) => string;
  /** The sides at (token or choice, place): width 4 gives vec4<f32> for four places from a multiple of four on, asked only when all are such; 1 an f32. */
  readonly left: OuterSide;
  readonly right: OuterSide;
  /** Statements that take the sum at `row` (bank * k + k) and column `col` and store the result: `width` 4 for columns col..col+3. */
  readonly store: (w: KernelWriter, width: 1 | 4, row: string, col: string, acc: readonly string[]) => string;
  readonly groups: OuterGroups | null;
  /** Room for sums over parts of the tokens, vec4<f32>s; asked for by a template that divides them. */
  readonly partial: (elements: number) => Binding;
}

export type OuterSide = (w: KernelWriter, width: 1 | 4, token: string, place: string) => string;

/** From the `group` kernel: choices in the order of their banks, and where each bank's begin (`boundsOf`). */
export interface OuterGroups {
  readonly banks: number;
  readonly order: Binding;
  readonly tiles: Binding;
  readonly tileRows: number;
}

export interface OuterTemplate {
  readonly name: string;
  readonly suits: (spec: OuterSpec, device: DeviceFacts) => boolean;
  /** Dispatches in order. */
  readonly emit: (spec: OuterSpec, device: DeviceFacts) => readonly EmittedKernel[];
}

/** Which part of the result a workgroup owns, and of which tokens it is the sum. */
export interface OuterBlock {
  /** Statements, that leave `main` where there is nothing to do; afterwards `first_k`, `first_n` and `count`, tokens of the bank. */
  readonly text: string;
  /** WGSL: number of the token or choice for i < count. */
  readonly token: (i: string) => string;
  /** WGSL: row of the result for row `k`. */
  readonly row: (k: string) => string;
  readonly workgroups: number;
}

/** Blocks of `height` rows and `width` columns; `parts` workgroups share one, whose number is then `part`. */
export function outerBlock(w: KernelWriter, spec: OuterSpec, height: number, width: number, parts = 1): OuterBlock {
  const [down, across] = [Math.ceil(spec.k / height), Math.ceil(spec.n / width)];
  const { groups } = spec;
  const banks = groups?.banks ?? 1;
  const workgroups = banks * down * across * parts;
  const text = `
if (group >= ${workgroups}u) { return; }
let part = group % ${parts}u;
let first_n = group / ${parts}u % ${across}u * ${width}u;
let first_k = group / ${parts * across}u % ${down}u * ${height}u;
let bank = group / ${parts * across * down}u;
let tokens = ${spec.tokens(w)};`;
  if (groups === null) return { text: `${text}\nlet count = tokens;`, token: (i) => i, row: (k) => k, workgroups };
  const order = w.bind(groups.order, "array<u32>", "read");
  const tiles = w.bind(groups.tiles, "array<vec4<u32>>", "read");
  return {
    text: `${text}\nlet bounds = ${tiles}[${roomFor("tokens", groups.banks, groups.tileRows)} + bank];\nlet count = bounds.z;`,
    token: (i) => `${order}[bounds.y + ${i}]`,
    row: (k) => `(bank * ${spec.k}u + ${k})`,
    workgroups,
  };
}

/** WGSL: tiles that a grouped contraction over so many choices has room for. Behind them the `group` kernel leaves each bank's (bank, first, count, 0). */
export function roomFor(choices: string, banks: number, tileRows: number): string {
  return `((${choices} + ${tileRows - 1}u) / ${tileRows}u + min(${choices}, ${banks}u))`;
}

/** Four places of a side at a token; past the end the last stands in, whose sums nobody stores. */
export function loadSide(w: KernelWriter, side: OuterSide, length: number, token: string, place: string): string {
  if (length % 4 === 0) return side(w, 4, token, `min(${place}, ${length - 4}u)`);
  const at = [0, 1, 2, 3].map((i) => side(w, 1, token, `min(${place} + ${i}u, ${length - 1}u)`));
  return `vec4<f32>(${at.join(", ")})`;
}
