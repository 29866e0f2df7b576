/** Stages that order a row: top-k by rounds of the largest that is left, and running sums. */
import type { Node } from "../../graph/node.ts";
import type { Axis } from "../../graph/type.ts";
import { findAxis } from "../../graph/type.ts";
import type { Index } from "./indexing.ts";
import { flatten, unflatten } from "./indexing.ts";
import { count } from "./place.ts";
import type { RowScope } from "./row-scope.ts";
import { emitList } from "./row-fold.ts";
import { foldTeam, listOf } from "./row-team.ts";
import { memoryType } from "./text.ts";
import { fixedSize } from "./size.ts";

const NONE = "0xffffffffu";

/**
 * Each round finds the first, in order of descending value and ascending index, of the elements after the last one found;
 * so ties go to the lowest index and no element has to be marked. Both results of a selection come from one stage.
 */
export function emitTopk(scope: RowScope, node: Node<"topk">): void {
  const { e, team } = scope;
  const [x] = node.inputs as [Node];
  const { axis, k } = node.attrs;
  if (!scope.held.has(x) && scope.memory.bufferOf(x) === null) emitList(scope, x, (index) => e.value(x, index, null));
  const axes = scope.inside(node);
  const [values, chosen] = [
    listOf(e, e.w.fresh("values"), "f32", count(axes)),
    listOf(e, e.w.fresh("chosen"), "u32", count(axes)),
  ];
  const [n, rounds] = [fixedSize(findAxis(x.type, axis)!), fixedSize(k)];
  const outer = axes.filter((a) => a.name !== k.name);
  const [best, at, lastValue, lastAt, round] = ["best", "at", "last_value", "last_at", "round"].map((p) =>
    e.w.fresh(p),
  ) as [string, string, string, string, string];

  const rounds_ = (index: Index, together: boolean): void => {
    e.line(
      `var ${lastValue} = 0.0;\nvar ${lastAt} = 0u;\nfor (var ${round} = 0u; ${round} < ${rounds}u; ${round}++) {`,
    );
    e.line(`var ${best} = 0.0;\nvar ${at} = ${NONE};`);
    const i = e.w.fresh("i");
    const body = e.block(() => {
      const v = e.value(x, new Map(index).set(axis, i), null);
      const left = `(${round} == 0u || ${v} < ${lastValue} || (${v} == ${lastValue} && ${i} > ${lastAt}))`;
      e.line(`if (${left} && (${at} == ${NONE} || ${v} > ${best})) { ${best} = ${v}; ${at} = ${i}; }`);
    });
    e.line(
      `for (var ${i} = ${together ? "lane" : "0u"}; ${i} < ${n}u; ${i} += ${together ? team.lanes : 1}u) {\n${body}\n}`,
    );
    if (together) {
      const better = ([v, o]: readonly string[]): string =>
        `if (${o} != ${NONE} && (${at} == ${NONE} || ${v} > ${best} || (${v} == ${best} && ${o} < ${at}))) { ${best} = ${v}; ${at} = ${o}; }`;
      foldTeam(
        e,
        team,
        [
          { name: best, type: "f32" },
          { name: at, type: "u32" },
        ],
        better,
      );
    }
    e.line(`${lastValue} = ${best};\n${lastAt} = min(${at}, ${n - 1}u);`);
    const place = flatten(axes, new Map(index).set(k.name, round), e.w.size);
    const write = `${values}[${place}] = ${lastValue};\n${chosen}[${place}] = ${lastAt};`;
    e.line(together ? `if (lane == 0u) {\n${write}\n}\n}` : `${write}\n}`);
  };

  if (outer.length === 0) rounds_(scope.rowIndex, true);
  else perElement(scope, outer, (index) => rounds_(index, false));
  e.line("workgroupBarrier();");
  for (const part of ["values", "indices"] as const) {
    const twin = part === node.attrs.part ? node : scope.twin(node, part);
    if (twin !== null)
      scope.held.set(twin, { kind: "list", name: part === "values" ? values : chosen, axes: scope.inside(twin) });
  }
}

/** Running sums: each invocation walks whole lines. */
export function emitCumsum(scope: RowScope, node: Node<"cumsum">): void {
  const { e } = scope;
  const [x] = node.inputs as [Node];
  const { axis, exclusive } = node.attrs;
  const axes = scope.inside(node);
  const { dtype } = node.type;
  const name = listOf(e, e.w.fresh("list"), memoryType(dtype), count(axes));
  perElement(
    scope,
    axes.filter((a) => a.name !== axis),
    (index) => {
      const [sum, i] = [e.w.fresh("sum"), e.w.fresh("i")];
      const body = e.block(() => {
        const inner = new Map(index).set(axis, i);
        const v = e.value(x, inner, null);
        const place = `${name}[${flatten(axes, inner, e.w.size)}]`;
        e.line(exclusive ? `${place} = ${sum};\n${sum} += ${v};` : `${sum} += ${v};\n${place} = ${sum};`);
      });
      e.line(
        `var ${sum} = ${dtype}();\nfor (var ${i} = 0u; ${i} < ${fixedSize(findAxis(x.type, axis)!)}u; ${i}++) {\n${body}\n}`,
      );
    },
  );
  e.line("workgroupBarrier();");
  scope.held.set(node, { kind: "list", name, axes });
}

/** Runs `write` for the elements over `axes`, cut over the invocations. */
function perElement(scope: RowScope, axes: readonly Axis[], write: (index: Index) => void): void {
  const { e, team } = scope;
  const o = e.w.fresh("o");
  const body = e.block(() => {
    const inner = [...unflatten(axes, o, e.w.size)].map(([label, text]): [string, string] => [label, e.name(text)]);
    write(new Map([...scope.rowIndex, ...inner]));
  });
  e.line(`for (var ${o} = lane; ${o} < ${count(axes)}u; ${o} += ${team.lanes}u) {\n${body}\n}`);
}
