/** Two ways to compute a stage of a row: one value folded by all invocations, or a list cut over them. */
import { Dim } from "../../graph/dim.ts";
import type { Node } from "../../graph/node.ts";
import type { Axis } from "../../graph/type.ts";
import { checkSum, foldLanes, isSum } from "./emit.ts";
import type { Index } from "./indexing.ts";
import { unflatten } from "./indexing.ts";
import { count } from "./place.ts";
import type { RowScope } from "./row-scope.ts";
import { foldTeam, listOf } from "./row-team.ts";
import { literal, memoryType, toMemory, typeText } from "./text.ts";

/** All invocations fold one value; `wide`: four elements of the last axis at a time. */
export function foldRow(
  scope: RowScope,
  node: Node,
  over: readonly Axis[],
  wide: boolean,
  identity: number,
  combine: (a: string, b: string) => string,
  element: (index: Index, run: string | null) => string,
): void {
  const { e, team } = scope;
  const { dtype } = node.type;
  const run = wide ? (over.at(-1)?.name ?? null) : null;
  const step = run === null ? 1 : 4;
  const [sum, i] = [e.w.fresh("sum"), e.w.fresh("i")];
  e.line(`var ${sum} = ${typeText(dtype, run)}(${literal(identity, dtype)});`);
  const body = e.block(() => {
    const inner = [...unflatten(over, i, e.w.size)].map(([label, text]): [string, string] => [label, e.name(text)]);
    e.line(`${sum} = ${combine(sum, `(${element(new Map([...scope.rowIndex, ...inner]), run)})`)};`);
  });
  e.line(
    `for (var ${i} = lane * ${step}u; ${i} < ${e.w.size(Dim.product(over.map((a) => a.size)))}; ${i} += ${team.lanes * step}u) {\n${body}\n}`,
  );
  const name = e.w.fresh("row");
  e.line(`var ${name} = ${run === null ? sum : foldLanes(sum, combine)};`);
  foldTeam(e, team, [{ name, type: dtype }], ([other]) => `${name} = ${combine(name, other!)};`);
  if (isSum(node)) e.line(`${name} = ${checkSum(e.w, name, null)};`);
  scope.held.set(node, { kind: "scalar", name });
}

/** Each invocation computes whole elements of a list. */
export function emitList(scope: RowScope, node: Node, element: (index: Index) => string): void {
  const { e, team } = scope;
  const axes = scope.inside(node);
  const name = listOf(e, e.w.fresh("list"), memoryType(node.type.dtype), Math.max(1, count(axes)));
  const i = e.w.fresh("i");
  const body = e.block(() => {
    const inner = [...unflatten(axes, i, e.w.size)].map(([label, text]): [string, string] => [label, e.name(text)]);
    const value = element(new Map([...scope.rowIndex, ...inner]));
    e.line(`${name}[${i}] = ${toMemory(value, node.type.dtype, null)};`);
  });
  e.line(`for (var ${i} = lane; ${i} < ${count(axes)}u; ${i} += ${team.lanes}u) {\n${body}\n}\nworkgroupBarrier();`);
  scope.held.set(node, { kind: "list", name, axes });
}
