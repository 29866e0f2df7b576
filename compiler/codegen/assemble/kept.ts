/**
 * Results of an entry that are kept across steps instead of read after it: gradients and losses add up over micro-batches, what a state will
 * be replaces what was said before. A layer's function leaves its own straight in the buffer of its layer, so none passes through main.
 */
import type { GraphFunction, Node, Output, Program } from "../../graph/node.ts";
import { isOp } from "../../graph/node.ts";
import { plainPath, templateOfLayer } from "../../graph/path.ts";
import { callKey, outputNodes, topologicalOrder, usersOf } from "../../graph/traverse.ts";
import type { Axis } from "../../graph/type.ts";
import type { Dispatch, Kept, Layout, Repeat } from "../../plan/plan.ts";
import { count } from "../lower/place.ts";
import { fixedSize } from "../lower/size.ts";
import { FORMATS } from "../../plan/format.ts";
import { matrixBytes, plainBytes } from "../../plan/layout.ts";
import type { KeptPlace } from "../schedule/kernel.ts";
import { type Sink, sinkOf } from "../schedule/sink.ts";
import { emitCopy, type FunctionContext } from "./function.ts";
import { pushRepeat } from "./repeat.ts";

/** How a result of main is kept. */
export interface Keep {
  readonly id: string;
  readonly adds: boolean;
  readonly kept: Kept;
  /** The parameter, as functions know it, whose layout it has; null: row-major. */
  readonly like: string | null;
  /** The buffer in which the next micro-batch finds it. */
  readonly next: string | null;
}

/** What is kept of an entry, by the name of the result. */
export type Keeps = ReadonlyMap<string, Keep>;

export interface KeptResults {
  /** Results of main that are kept. */
  readonly names: ReadonlySet<string>;
  readonly ofFunctions: ReadonlyMap<string, ReadonlyMap<number, readonly KeptPlace[]>>;
  readonly ofMain: readonly Sink[];
  /** Calls whose results are all that is wanted of them. */
  readonly calls: readonly Node[];
  /** Dispatches after all others: what the next micro-batch finds. */
  readonly settle: (context: FunctionContext) => readonly (Dispatch | Repeat)[];
}

interface Addend {
  readonly name: string;
  readonly keep: Keep;
  readonly node: Node;
}

/** Declares the buffers, and says who writes them. */
export function placeKept(
  { main, functions }: Program,
  keeps: Keeps | null,
  context: Pick<FunctionContext, "collector" | "layoutOf">,
): KeptResults {
  const outputs = main.outputs.flatMap((output) => {
    const keep = keeps?.get(output.name);
    return keep === undefined ? [] : [{ output, keep }];
  });
  const placeOf = ({ like, adds }: Keep, axes: readonly Axis[], id: string): KeptPlace => {
    const layout: Layout = like === null ? { kind: "plain" } : context.layoutOf(like);
    return { id, axes, layout, adds };
  };
  for (const { output, keep } of outputs) {
    const place = placeOf(keep, output.node.type.axes, keep.id);
    const elements = keep.like === null ? count(place.axes) : elementsIn(place);
    context.collector.buffer(keep.id, "f32", elements, { role: "kept", kept: keep.kept });
    if (keep.next !== null) context.collector.buffer(keep.next, "f32", elements, { role: "kept", kept: keep.kept });
  }
  const addends = outputs.flatMap(({ output: { name, node }, keep }): Addend[] =>
    (keep.adds ? addendsOf(node) : [node]).map((x) => ({ name, keep, node: x })),
  );
  const inLayers = new Map<string, ReadonlyMap<number, readonly KeptPlace[]>>();
  const taken = new Set<Addend>();
  const users = usersOf(topologicalOrder(outputNodes(main)));
  for (const [fn, { outputs: results }] of functions) {
    const own = new Map<number, readonly KeptPlace[]>();
    results.forEach(({ node }, part) => {
      const found = partsIn(main, fn, part, addends, users);
      if (found === null) return;
      found.addends.forEach((a) => taken.add(a));
      own.set(
        part,
        found.places.map(({ keep, id }) => placeOf(keep, node.type.axes, id)),
      );
    });
    inLayers.set(fn, own);
  }
  return {
    names: new Set(outputs.map(({ output }) => output.name)),
    ofFunctions: inLayers,
    ofMain: addends
      .filter((a) => !taken.has(a))
      .map(({ keep, node }) => sinkOf(node, placeOf(keep, node.type.axes, keep.id))),
    calls: [...taken].map((a) => a.node),
    settle: (own) => settle(outputs, own),
  };
}

/**
 * Where a function's result goes when every call leaves it in kept buffers and nowhere else, in the same ones but for the layer; null where
 * it does not.
 */
function partsIn(
  main: GraphFunction,
  fn: string,
  part: number,
  addends: readonly Addend[],
  users: ReadonlyMap<Node, readonly Node[]>,
): {
  readonly addends: readonly Addend[];
  readonly places: readonly { readonly keep: Keep; readonly id: string }[];
} | null {
  const all = topologicalOrder(outputNodes(main)).filter(
    (n): n is Node<"call"> => isOp(n, "call") && n.attrs.fn === fn,
  );
  const own = addends.filter(({ node }) => isOp(node, "call") && node.attrs.fn === fn && node.attrs.part === part);
  if (own.length === 0) return null;
  const calls = [...new Set(own.map((a) => a.node as Node<"call">))];
  const outside = calls.some((call) =>
    (users.get(call) ?? []).some((user) => !isOp(user, "add") || !isInside(user, addends, users)),
  );
  if (outside || calls.length !== new Set(all.map(callKey)).size) return null;
  const of = (call: Node<"call">): ReadonlyMap<string, Keep> =>
    new Map(own.filter((a) => a.node === call).map(({ keep }) => [templateIn(keep.id, call.attrs.path), keep]));
  const [first, ...others] = calls.map(of);
  const key = (places: ReadonlyMap<string, Keep>): string => [...places.keys()].sort().join();
  if (others.some((o) => key(o) !== key(first!))) return null;
  return { addends: own, places: [...first!].map(([id, keep]) => ({ keep, id })) };
}

/** Whether a sum is taken apart for kept buffers alone. */
function isInside(sum: Node, addends: readonly Addend[], users: ReadonlyMap<Node, readonly Node[]>): boolean {
  if (addends.some((a) => a.node === sum)) return false;
  return (users.get(sum) ?? []).every((u) => isOp(u, "add") && isInside(u, addends, users));
}

/** `grad.blocks[3].w` as the function of `blocks[3]` says it: with a hole for the number. */
function templateIn(id: string, path: string): string {
  return plainPath(id.replace(path, templateOfLayer(path)));
}

/** What a sum is made of. */
function addendsOf(node: Node): readonly Node[] {
  return isOp(node, "add") && node.inputs.every((x) => x.type.axes.length === node.type.axes.length)
    ? node.inputs.flatMap(addendsOf)
    : [node];
}

function elementsIn({ axes, layout }: KeptPlace): number {
  const sized = axes.map((a) => ({ ...a, n: fixedSize(a) }));
  const of = (names: readonly string[]): number => count(names.map((name) => sized.find((a) => a.name === name)!));
  if (layout.kind === "plain") return plainBytes(FORMATS.f32, count(axes)) / 4;
  return matrixBytes(FORMATS.f32, of(layout.bank), of(layout.k), of(layout.n)) / 4;
}

function settle(
  outputs: readonly { readonly output: Output; readonly keep: Keep }[],
  context: FunctionContext,
): readonly (Dispatch | Repeat)[] {
  const steps: (Dispatch | Repeat)[] = [];
  for (const { output, keep } of outputs) {
    if (keep.next === null) continue;
    const index = /\[(\d+)\]/.exec(keep.id)?.[1];
    const hole = (id: string): string => (index === undefined ? id : id.replace(`[${index}]`, "[#]"));
    const copy = emitCopy(output.node, hole(keep.id), hole(keep.next), context);
    if (index === undefined) steps.push(copy);
    else pushRepeat(steps, Number(index), [copy]);
  }
  return steps;
}
