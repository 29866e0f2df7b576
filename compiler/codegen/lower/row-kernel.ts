/**
 * A connected group of reductions, running sums, top-k selections and small contractions over the same rows, in one
 * workgroup per row: a norm, a router's whole choice. Scalars of a row stay in registers, lists in workgroup memory, and
 * the light nodes between them are computed where they are used.
 */
import { Dim } from "../../graph/dim.ts";
import type { Node } from "../../graph/node.ts";
import { isOp } from "../../graph/node.ts";
import type { Axis } from "../../graph/type.ts";
import { KernelWriter } from "../kernel/writer.ts";
import { fewLanes, fixedLanes, tuning } from "../kernel/tuning.ts";
import type { DeviceFacts } from "../../plan/plan.ts";
import type { RowKernel, Store } from "../schedule/kernel.ts";
import type { LowerContext, Lowered } from "./context.ts";
import { Emitter } from "./emit.ts";
import type { Index } from "./indexing.ts";
import { flatten, hasRuns, shift, unflatten } from "./indexing.ts";
import { count } from "./place.ts";
import type { Held, RowScope } from "./row-scope.ts";
import { emitStage, isStage } from "./row-stage.ts";
import type { Team } from "./row-team.ts";
import { sizeOf } from "./size.ts";
import { emitStore } from "./store.ts";
import { FIELDS, fromMemory } from "./text.ts";

export function lowerRow(kernel: RowKernel, id: string, context: LowerContext): Lowered {
  const memory = context.memoryFor(kernel);
  const w = new KernelWriter();
  const team = teamFor(context.device, kernel);
  if (team.subgroup) w.feature("subgroups");
  const held = new Map<Node, Held>();
  const place = new Map<string, string>();
  const e = new Emitter(w, memory, (node, index, run) => {
    const own = held.get(node);
    if (own === undefined) return null;
    const apart = kernel.rows.find((r) => index.get(r) !== place.get(r) || r === run);
    if (apart !== undefined)
      throw new Error(`${node.op} %${node.id} is wanted along ${apart} at another row than the kernel's`);
    if (own.kind === "scalar") return own.name;
    const load = (i: Index): string =>
      fromMemory(`${own.name}[${flatten(own.axes, i, e.w.size)}]`, node.type.dtype, null);
    return run === null
      ? load(index)
      : `vec4<${node.type.dtype}>(${FIELDS.map((_, lane) => load(shift(index, run, lane))).join(", ")})`;
  });
  const rowAxes = rowAxesOf(kernel);
  const rows = Dim.product(rowAxes.map((a) => a.size));
  e.line(`if (group >= ${w.size(rows)}) { return; }`);
  const rowIndex = new Map([...unflatten(rowAxes, "group", e.w.size)].map(([label, text]) => [label, e.name(text)]));
  for (const [label, text] of rowIndex) place.set(label, text);
  const inside = (node: Node): readonly Axis[] => node.type.axes.filter((a) => !kernel.rows.includes(a.name));
  const twin = (node: Node<"topk">, part: "values" | "indices"): Node | null =>
    kernel.computes.find(
      (n) => isOp(n, "topk") && n.inputs[0] === node.inputs[0] && n.attrs.part === part && sameChoice(n, node),
    ) ?? null;
  const scope: RowScope = { e, memory, team, rowIndex, held, inside, twin };
  for (const node of kernel.computes) if (isStage(node) && !held.has(node)) emitStage(scope, node);
  for (const store of kernel.stores) storeRow(scope, context, store);
  const module = w.finish(id, [team.lanes, 1, 1], e.flush());
  return { module, bindings: w.bindings, grid: [sizeOf(rows), 1, 1], constants: w.constants };
}

function storeRow(scope: RowScope, context: LowerContext, store: Store): void {
  const { e, team, memory } = scope;
  const axes = scope.inside(store.node);
  const last = axes.at(-1);
  const run = last !== undefined && hasRuns(store.node.type, last.name) ? last.name : null;
  const step = run === null ? 1 : 4;
  const i = e.w.fresh("i");
  const body = e.block(() => {
    const inner = [...unflatten(axes, i, e.w.size)].map(([label, text]): [string, string] => [label, e.name(text)]);
    const index = new Map([...scope.rowIndex, ...inner]);
    emitStore(e, context, memory, store, index, run, e.value(store.node, index, run));
  });
  if (axes.length === 0) e.line(`if (lane == 0u) {\n${body}\n}`);
  else e.line(`for (var ${i} = lane * ${step}u; ${i} < ${count(axes)}u; ${i} += ${team.lanes * step}u) {\n${body}\n}`);
}

function sameChoice(a: Node<"topk">, b: Node<"topk">): boolean {
  return a.attrs.axis === b.attrs.axis && a.attrs.k.name === b.attrs.k.name && a.attrs.k.size.equals(b.attrs.k.size);
}

/** Row axes with their sizes, in the order of the first node that has them all. */
export function rowAxesOf(kernel: RowKernel): readonly Axis[] {
  const nodes = [...kernel.computes.flatMap((n) => [n, ...n.inputs]), ...kernel.stores.map((s) => s.node)];
  const full = nodes.find((n) => kernel.rows.every((r) => n.type.axes.some((a) => a.name === r)));
  return full?.type.axes.filter((a) => kernel.rows.includes(a.name)) ?? [];
}

/** One subgroup where barriers are dear; elsewhere enough invocations to hide latency. */
function teamFor(device: DeviceFacts, kernel: RowKernel): Team {
  if (!device.fastWorkgroupMemory) return { lanes: fewLanes(device), subgroup: fixedLanes(device) !== null };
  const widest = Math.max(
    1,
    ...[...kernel.computes.flatMap((n) => n.inputs), ...kernel.stores.map((s) => s.node)].map((n) =>
      width(n, kernel.rows),
    ),
  );
  const { productInvocations, invocations } = tuning.row;
  const hasProduct = kernel.computes.some((n) => isOp(n, "dot"));
  const wanted = hasProduct ? productInvocations : invocations.find((i) => widest >= i.width)!.count;
  return { lanes: Math.min(wanted, device.maxInvocations), subgroup: false };
}

function width(node: Node, rows: readonly string[]): number {
  return count(node.type.axes.filter((a) => !rows.includes(a.name) && a.size.value !== null));
}
