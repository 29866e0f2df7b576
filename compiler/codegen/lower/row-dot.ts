/**
 * A small contraction inside a row kernel, such as a router's logits. Invocations are cut over columns (four at a time
 * where the weight allows) and over slices of the contracted axes; the slices are then added in order.
 */
import type { Node } from "../../graph/node.ts";
import { findAxis, hasAxis } from "../../graph/type.ts";
import { tuning } from "../kernel/tuning.ts";
import type { Index } from "./indexing.ts";
import { hasRuns, shift, unflatten } from "./indexing.ts";
import { count } from "./place.ts";
import type { RowScope } from "./row-scope.ts";
import { foldRow } from "./row-fold.ts";
import { listOf } from "./row-team.ts";
import { FIELDS, typeText } from "./text.ts";

export function emitSmallDot(scope: RowScope, node: Node<"dot">): void {
  const { e, team } = scope;
  const axes = scope.inside(node);
  const [x, y] = node.inputs as [Node, Node];
  const over = node.attrs.axes.map((name) => findAxis(x.type, name)!);
  const inner = over.at(-1)!;
  if (axes.length === 0) {
    const element = (index: Index, run: string | null): string =>
      `${e.value(x, index, run)} * ${e.value(y, index, run)}`;
    foldRow(scope, node, over, hasRuns({ dtype: "f32", axes: over }, inner.name), 0, (a, b) => `${a} + ${b}`, element);
    return;
  }
  const last = axes.at(-1)!;
  const run = hasRuns(node.type, last.name) ? last.name : null;
  const [cols, length] = [count(axes), count(over)];
  const units = cols / (run === null ? 1 : 4);
  const slices = Math.max(1, Math.min(tuning.row.slices, Math.floor(team.lanes / units)));
  // Four rows of k at a time, so that the activation side is one load.
  const along = hasRuns({ dtype: "f32", axes: over }, inner.name) ? inner.name : null;
  const step = along === null ? 1 : 4;
  const type = typeText("f32", run);
  const list = listOf(e, e.w.fresh("list"), "f32", cols);
  const partial = slices === 1 ? null : listOf(e, e.w.fresh("partial"), type, units * slices);
  const [unit, slice, sum, k] = ["unit", "slice", "sum", "k"].map((p) => e.w.fresh(p)) as [
    string,
    string,
    string,
    string,
  ];

  const body = e.block(() => {
    e.line(
      `let ${unit} = ${slices === 1 ? "u" : `u % ${units}u`};\nlet ${slice} = u / ${units}u;\nvar ${sum} = ${type}();`,
    );
    const column = unflatten(axes, run === null ? unit : `(${unit} * 4u)`, e.w.size);
    const outside = new Map([...scope.rowIndex, ...[...column].map(([l, t]): [string, string] => [l, e.name(t)])]);
    const loop = e.block(() => {
      const index = new Map([
        ...outside,
        ...[...unflatten(over, k, e.w.size)].map(([l, t]): [string, string] => [l, e.name(t)]),
      ]);
      const product = (i: Index, lane: string | null): void => {
        // The side without the columns is the same for all of them: one value, or the lane of one loaded run.
        const [a, b] = [x, y].map((side) => {
          const flat = run === null || !hasAxis(side.type, run);
          if (lane !== null && !axes.some((axis) => hasAxis(side.type, axis.name)))
            return `${type}(${e.value(side, index, along)}.${lane})`;
          return flat ? `${type}(${e.value(side, i, null)})` : e.value(side, i, run);
        }) as [string, string];
        e.line(`${sum} = fma(${a}, ${b}, ${sum});`);
      };
      if (along === null) product(index, null);
      else FIELDS.forEach((field, lane) => product(shift(index, along, lane), field));
    });
    e.line(`for (var ${k} = ${slice} * ${step}u; ${k} < ${length}u; ${k} += ${slices * step}u) {\n${loop}\n}`);
    if (partial !== null) e.line(`${partial}[u] = ${sum};`);
    else if (run === null) e.line(`${list}[${unit}] = ${sum};`);
    else FIELDS.forEach((f, i) => e.line(`${list}[${unit} * 4u + ${i}u] = ${sum}.${f};`));
  });
  e.line(`for (var u = lane; u < ${units * slices}u; u += ${team.lanes}u) {\n${body}\n}\nworkgroupBarrier();`);
  if (partial !== null) {
    const of = (s: number): string =>
      run === null ? `${partial}[c + ${s * units}u]` : `${partial}[c / 4u + ${s * units}u][c % 4u]`;
    const total = Array.from({ length: slices }, (_, s) => of(s)).join(" + ");
    e.line(`for (var c = lane; c < ${cols}u; c += ${team.lanes}u) { ${list}[c] = ${total}; }\nworkgroupBarrier();`);
  }
  scope.held.set(node, { kind: "list", name: list, axes });
}
