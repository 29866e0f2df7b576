/**
 * Moves a selection towards the parameters: `take[N](f(x), i) = f(take[N](x), i)` for everything that treats the indices
 * along N alike. Only names decide. Where it cannot go on, the selection stays there.
 */
import type { Node } from "../../graph/node.ts";
import { isOp } from "../../graph/node.ts";
import { TIME, hasAxis } from "../../graph/type.ts";
import type { Builder } from "../../ops/builder.ts";
import type { Lowering } from "../../ops/define.ts";
import { ops } from "../../ops/table.ts";

/** `take` along `axis` by `index`, pushed as far as it goes; has the type of the plain take. */
export function pushTake(b: Builder, x: Node, axis: string, index: Node): Node {
  const plain = b.take(x, index, axis);
  const memo = new Map<Node, Node>();
  const pushed = follow({ s: { b, axis, index, memo }, x });
  const order = plain.type.axes.map((a) => a.name);
  return pushed.type.axes.length === order.length && order.every((name) => hasAxis(pushed.type, name))
    ? b.transpose(pushed, order)
    : plain;
}

interface Selection {
  readonly b: Builder;
  readonly axis: string;
  readonly index: Node;
  readonly memo: Map<Node, Node>;
}

/** A node that is wanted with a selection pushed into it. */
interface Wanted {
  readonly s: Selection;
  readonly x: Node;
}

/** Asks for what it needs, and is given it. */
type Steps = Generator<Wanted, Node, Node>;

/** Answers what each asks for. On a stack of its own: graphs are deeper than the call stack. */
function follow(first: Wanted): Node {
  const stack = [push(first)];
  let answer: Node | null = null;
  for (;;) {
    const step: IteratorResult<Wanted, Node> = answer === null ? stack.at(-1)!.next() : stack.at(-1)!.next(answer);
    answer = null;
    if (step.done !== true) {
      stack.push(push(step.value));
      continue;
    }
    stack.pop();
    if (stack.length === 0) return step.value;
    answer = step.value;
  }
}

function* push({ s, x }: Wanted): Steps {
  if (!hasAxis(x.type, s.axis)) return x;
  const known = s.memo.get(x);
  if (known !== undefined) return known;
  const result = (yield* inward(s, x)) ?? s.b.take(x, s.index, s.axis);
  s.memo.set(x, result);
  return result;
}

/** The node rebuilt on selected inputs; null when the selection has to stay outside. */
function* inward(s: Selection, x: Node): Generator<Wanted, Node | null, Node> {
  const { b, axis, index } = s;
  const rebuild = function* (): Steps {
    const inputs: Node[] = [];
    for (const input of x.inputs) inputs.push(yield { s, x: input });
    return b.must(x.op, inputs, x.attrs, x.origin);
  };
  const touchesIndex = (labels: readonly string[]): boolean => labels.some((l) => hasAxis(index.type, l));
  const lowering = ops[x.op].lowering as Lowering<typeof x.op>;
  switch (lowering.kind) {
    case "map":
      return yield* rebuild();
    case "reduce":
    case "contraction":
      return touchesIndex((x as Node<"sum" | "dot">).attrs.axes) ? null : yield* rebuild();
    case "view":
      return yield* throughView(s, x, rebuild);
    case "concat":
      return (x as Node<"concat">).attrs.axis === axis || touchesIndex([(x as Node<"concat">).attrs.axis])
        ? null
        : yield* rebuild();
    case "choice": {
      const { axis: from, k } = (x as Node<"topk">).attrs;
      return [from, k.name].includes(axis) || touchesIndex([from, k.name]) ? null : yield* rebuild();
    }
    case "running": {
      const { axis: along } = (x as Node<"cumsum">).attrs;
      return along === axis || touchesIndex([along]) ? null : yield* rebuild();
    }
    case "gather": {
      const [from, chosen] = x.inputs as [Node, Node];
      const own = (x as Node<"take">).attrs.axis;
      if (own === axis || touchesIndex([own])) return null;
      // Kernels read chosen indices by tokens, then choices: their order stays.
      const order = chosen.type.axes.flatMap((a) => (a.name === axis ? index.type.axes.map((i) => i.name) : [a.name]));
      return b.must(
        "take",
        [yield { s, x: from }, b.transpose(yield { s, x: chosen }, order)],
        { axis: own },
        x.origin,
      );
    }
    case "source":
      // Counting along the axis, picked by an index, is the index.
      return isOp(x, "iota") ? index : null;
    case "attend": {
      // Queries choose for themselves; keys and values are other tokens'.
      const rest = x.inputs.slice(1);
      const labels = index.type.axes.map((a) => a.name).filter((name) => name !== TIME);
      return [axis, ...labels].some((name) => rest.some((i) => hasAxis(i.type, name))) ? null : yield* rebuild();
    }
    case "delay":
      // Another token's row would be picked by this token's index.
      return axis === TIME || hasAxis(index.type, TIME) ? null : yield* rebuild();
    case "attend-grad":
    case "spread":
    case "scan":
    case "memory":
    case "call":
      return null;
  }
}

function* throughView(s: Selection, x: Node, rebuild: () => Steps): Generator<Wanted, Node | null, Node> {
  const { b, axis, index } = s;
  const [input] = x.inputs as [Node];
  const clash = (labels: readonly string[]): boolean => labels.some((l) => hasAxis(index.type, l));
  if (isOp(x, "rename")) {
    const { from, to } = x.attrs;
    if (to === axis) return clash([from]) ? null : yield { s: { ...s, axis: from, memo: new Map() }, x: input };
    return clash([from, to]) || from === axis ? null : yield* rebuild();
  }
  if (isOp(x, "transpose")) return yield { s, x: input };
  if (isOp(x, "broadcast")) {
    if (!x.attrs.axes.some((a) => a.name === axis))
      return clash(x.attrs.axes.map((a) => a.name)) ? null : yield* rebuild();
    const added = index.type.axes.filter(
      (a) => !hasAxis(input.type, a.name) && !x.attrs.axes.some((o) => o.name === a.name),
    );
    return b.broadcast(input, [...x.attrs.axes.filter((a) => a.name !== axis), ...added]);
  }
  const labels = viewLabels(x);
  return labels === null || labels.includes(axis) || clash(labels) ? null : yield* rebuild();
}

/** Labels before and after a view that makes new ones. */
function viewLabels(x: Node): readonly string[] | null {
  if (isOp(x, "split")) return [x.attrs.axis, ...x.attrs.into.map((a) => a.name)];
  if (isOp(x, "merge")) return [...x.attrs.axes, x.attrs.to.name];
  if (isOp(x, "slice")) return [x.attrs.axis, x.attrs.to.name];
  if (isOp(x, "roll")) return [x.attrs.axis];
  return null;
}
