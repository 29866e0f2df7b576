/**
 * The code of one function, which serves every layer that calls it: arguments and results lie in buffers that all functions of the same
 * shape share, so that consecutive calls need no copies. Results that are kept across steps go straight into their buffers.
 */
import type { GraphFunction, Node, Program } from "../../graph/node.ts";
import { isOp } from "../../graph/node.ts";
import { outputNodes, topologicalOrder } from "../../graph/traverse.ts";
import type { TensorType } from "../../graph/type.ts";
import { formatType, sameType } from "../../graph/type.ts";
import { elementsOf } from "../lower/size.ts";
import { identifier } from "../lower/text.ts";
import type { Dispatch } from "../../plan/plan.ts";
import { baseOf } from "../schedule/bytes.ts";
import type { KeptPlace } from "../schedule/kernel.ts";
import type { ScheduleOptions } from "../schedule/scheduling.ts";
import type { FunctionContext, Places } from "./function.ts";
import { emitCopy, emitKernel, placeOf, placeTemporaries } from "./function.ts";
import { mayOverwrite } from "./in-place.ts";
import { sinkOf } from "../schedule/sink.ts";
import { scheduleNarrow } from "./narrow.ts";

export interface FunctionCode {
  readonly steps: readonly Dispatch[];
  /** Buffers in which arguments are expected. */
  readonly arguments: readonly string[];
  /** Buffers in which results are left; null for one that is kept. */
  readonly results: readonly (string | null)[];
}

/**
 * For each result of each function that the next call takes in, the number of the argument that it is there: a layer's result its input, a
 * gradient's the gradient it is given.
 */
export function findFeeds({ main }: Program): ReadonlyMap<string, ReadonlyMap<number, number>> {
  const feeds = new Map<string, Map<number, number>>();
  for (const node of topologicalOrder(outputNodes(main))) {
    if (!isOp(node, "call")) continue;
    node.inputs.map(baseOf).forEach((x, i) => {
      if (!isOp(x, "call")) return;
      const own = feeds.get(x.attrs.fn) ?? new Map<number, number>();
      feeds.set(x.attrs.fn, own.set(x.attrs.part, own.get(x.attrs.part) ?? i));
    });
  }
  return feeds;
}

/** `feeds` says of a result which argument of the next call it is, `kept` which results are kept, and where. */
export function assembleFunction(
  fn: GraphFunction,
  feeds: ReadonlyMap<number, number>,
  kept: ReadonlyMap<number, readonly KeptPlace[]>,
  options: Omit<ScheduleOptions, "cuts">,
  context: FunctionContext,
): FunctionCode {
  const places: Places = new Map(
    fn.inputs.map((input, i) => [input, streamBuffer(context, "arg", i, input.type, input)]),
  );
  const outputs = fn.outputs.map(({ node }, part) => ({ node, part })).filter(({ part }) => !kept.has(part));
  const sinks = [...kept].flatMap(([part, to]) => to.map((place) => sinkOf(fn.outputs[part]!.node, place)));
  const planned = scheduleNarrow(
    outputs.map((o) => o.node),
    sinks,
    options,
    context,
  );
  const args = fn.inputs.map((input) => placeOf(places, input));
  const isFedBefore = (next: number, i: number): boolean =>
    fn.outputs.some((_, part) => part < i && !kept.has(part) && (feeds.get(part) ?? part) === next);
  const results = fn.outputs.map(({ node }, i) => {
    if (kept.has(i)) return null;
    const next = feeds.get(i) ?? i;
    const input = fn.inputs[next];
    return input !== undefined && sameType(input.type, node.type) && !isFedBefore(next, i)
      ? args[next]!
      : streamBuffer(context, "result", i, node.type, node);
  });
  const copies: { readonly node: Node; readonly to: string }[] = [];
  for (const { node, part } of outputs) {
    const base = baseOf(node);
    const to = results[part]!;
    const over = fn.inputs[args.indexOf(to)] ?? null;
    const passedOn = outputs.some((o) => baseOf(o.node) === over);
    if (places.has(base) || (over !== null && (passedOn || !mayOverwrite(planned, over, base)))) {
      if (places.get(base) !== to) copies.push({ node: base, to });
    } else places.set(base, to);
  }
  placeTemporaries(planned, places, new Set(copies.map((c) => c.node)), context);
  const steps = planned.kernels.flatMap((kernel) => {
    if (kernel.kind === "call")
      throw new Error(`${fn.name} calls ${kernel.fn}: calls inside of functions have to be inlined first`);
    return emitKernel(kernel, planned, places, context);
  });
  steps.push(
    ...emitCopies(
      copies.map(({ node, to }) => ({ node, from: placeOf(places, node), to })),
      context,
    ),
  );
  return { steps, arguments: args, results };
}

/** Buffers of arguments and results by place and type: the same for all functions. */
function streamBuffer(
  context: FunctionContext,
  kind: "arg" | "result",
  i: number,
  type: TensorType,
  node: Node,
): string {
  return context.collector.buffer(`${kind}${i}.${identifier(formatType(type))}`, type.dtype, elementsOf(node));
}

interface Copy {
  readonly node: Node;
  readonly from: string;
  readonly to: string;
}

/** In an order in which no copy overwrites what another has yet to read; where they go in a circle, one value waits aside. */
function emitCopies(copies: readonly Copy[], context: FunctionContext): readonly Dispatch[] {
  const [steps, left] = [[] as Dispatch[], [...copies]];
  while (left.length > 0) {
    const free = left.findIndex(({ to }) => !left.some((other) => other.to !== to && other.from === to));
    const [{ node, from, to }] = left.splice(Math.max(0, free), 1) as [Copy];
    if (free >= 0) steps.push(emitCopy(node, from, to, context));
    else {
      const aside = context.collector.buffer(`${context.prefix}.aside${node.id}`, node.type.dtype, elementsOf(node));
      steps.push(emitCopy(node, from, aside, context));
      left.push({ node, from: aside, to });
    }
  }
  return steps;
}
