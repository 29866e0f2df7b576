/**
 * The layout of every parameter, decided once for all entries: a parameter that some contraction can use as a matrix gets
 * that matrix layout, every other reader goes element by element. When two contractions want different ones the first
 * has its way. A parameter over the device's binding limit is cut into parts.
 */
import { LIMITS } from "../../../grammar/limits.ts";
import type { GraphFunction } from "../../graph/node.ts";
import { isOp } from "../../graph/node.ts";
import { outputNodes, topologicalOrder } from "../../graph/traverse.ts";
import type { TensorType } from "../../graph/type.ts";
import type { Layout, Parameter } from "../../plan/plan.ts";
import { FORMATS, type WeightFormat } from "../../plan/format.ts";
import { matrixBytes, plainBytes } from "../../plan/layout.ts";
import type { Matrix } from "../../graph/matrix.ts";
import { matchMatrix } from "../../graph/matrix.ts";

/** By the path inside functions, e.g. `blocks[#].attn.q.w`. */
export type Layouts = ReadonlyMap<string, Layout>;

export function chooseLayouts(functions: readonly GraphFunction[]): Layouts {
  const layouts = new Map<string, Layout>();
  for (const fn of functions) {
    for (const node of topologicalOrder(outputNodes(fn))) {
      if (isOp(node, "param") && !layouts.has(node.attrs.path)) layouts.set(node.attrs.path, { kind: "plain" });
      const matrix = matchMatrix(node);
      if (matrix === null || matrix.n.length === 0) continue;
      const { path } = matrix.param.attrs;
      if (layouts.get(path)?.kind !== "matrix") layouts.set(path, layoutOf(matrix));
    }
  }
  return layouts;
}

function layoutOf({ bank, k, n }: Matrix): Layout {
  return { kind: "matrix", bank, k, n, split: bank.length > 0 ? "bank" : "n" };
}

/**
 * True when the parameter lies as this contraction can read it: as it wants it, or the other way around, as what goes back through a layer finds
 * it. A parameter in parts is cut along what that would have to add up.
 */
export function fitsLayout(matrix: Matrix, layouts: Layouts, partsOf: (path: string) => number): boolean {
  const { path } = matrix.param.attrs;
  const layout = layouts.get(path);
  if (layout?.kind !== "matrix") return false;
  const lies = (m: Pick<Matrix, "bank" | "k" | "n">): boolean =>
    (["bank", "k", "n"] as const).every((part) => layout[part].join() === m[part].join());
  const whole = layout.split === "bank" || partsOf(path) === 1;
  return lies(matrix) || (whole && lies({ bank: matrix.bank, k: matrix.n, n: matrix.k }));
}

/**
 * Bytes that one unit of the split axes takes and how many units there are, cut into parts that stay below the limit. Empty where there
 * would be more parts than `LIMITS.parts`; one unit that is larger is left to the device to refuse.
 */
export function cutParts(type: TensorType, layout: Layout, storage: WeightFormat, limit: number): Parameter["parts"] {
  const size = (names: readonly string[]): number =>
    names.reduce((n, name) => n * (type.axes.find((a) => a.name === name)?.size.value ?? 1), 1);
  if (layout.kind === "plain") {
    const [first, ...rest] = type.axes;
    const row = size(rest.map((a) => a.name));
    const bytes = (count: number): number => plainBytes(FORMATS[storage], count * row);
    // A part starts on a whole run of four elements, so that runs do not cross parts.
    return cut(first === undefined ? 1 : size([first.name]), 4, bytes, limit);
  }
  const bytes = (banks: number, n: number): number => matrixBytes(FORMATS[storage], banks, size(layout.k), n);
  if (layout.split === "bank") return cut(size(layout.bank), 1, (count) => bytes(count, size(layout.n)), limit);
  return cut(size(layout.n), 4, (n) => bytes(1, n), limit);
}

function cut(total: number, step: number, bytes: (count: number) => number, limit: number): Parameter["parts"] {
  let count = total;
  if (bytes(total) > limit) {
    // The most that fits, found by halves; then parts of about equal length.
    let [fits, over] = [step, Math.ceil(total / step) * step];
    while (over - fits > step) {
      const middle = Math.ceil((fits + over) / 2 / step) * step;
      if (middle >= over) break;
      if (bytes(middle) > limit) over = middle;
      else fits = middle;
    }
    const parts = Math.ceil(total / fits);
    if (parts > LIMITS.parts) return [];
    count = Math.ceil(Math.ceil(total / parts) / step) * step;
  }
  const parts: { start: number; count: number; bytes: number }[] = [];
  for (let start = 0; start < total; start += count) {
    const own = Math.min(count, total - start);
    parts.push({ start, count: own, bytes: bytes(own) });
  }
  return parts;
}
