/**
 * Attention over latents: keys W c of every head, read from one latent c per token, need not be kept. q · (W c) = (Wᵀ q) · c, and
 * Σ p (W c) = W Σ p c, so the queries go to the latent's channels, the latent is key and value of all heads at once, and the value's
 * matrix comes after attention. Further key channels without heads (a rotary part) stay as they are. arXiv
 * 2405.04434. Done where a token's row in the caches becomes smaller.
 */
import { Dim } from "../../graph/dim.ts";
import type { Node, Program } from "../../graph/node.ts";
import { isOp } from "../../graph/node.ts";
import { rewriteProgram } from "../../graph/traverse.ts";
import type { Axis } from "../../graph/type.ts";
import { TIME, hasAxis } from "../../graph/type.ts";
import type { Builder } from "../../ops/builder.ts";
import { freshLabel } from "../../ops/gradient.ts";
import { rowWidth, shapesOf } from "../../ops/states.ts";
import { axisOf } from "../../ops/typing.ts";
import { type Expansion, findExpansion, queryLatent } from "./expansion.ts";

export function absorbProgram(program: Program, b: Builder): Program {
  return rewriteProgram(program, (node, inputs) => {
    const made = b.must(node.op, inputs, node.attrs, node.origin);
    const next = isOp(made, "attend") ? absorb(b, made) : null;
    return next !== null && cacheWidth(next.attend) < cacheWidth(made) ? next.result : made;
  });
}

function absorb(b: Builder, attend: Node<"attend">): { readonly attend: Node; readonly result: Node } | null {
  const [q, k, v, ...sink] = attend.inputs as [Node, Node, Node, ...Node[]];
  const { channel } = attend.attrs;
  const value = findExpansion(v);
  const parts = partsOf(b, q, k, channel);
  const heads = q.type.axes.filter((a) => a.name !== TIME && a.name !== channel);
  if (value === null || parts === null || !heads.every((h) => hasAxis(v.type, h.name))) return null;
  // The latent that is the value comes first, so that values can be the first channels of the keys.
  const ordered = parts.toSorted((x, y) => Number(isOf(y, value)) - Number(isOf(x, value)));
  const total = ordered.reduce((sum, p) => sum.plus(axisOf(p.key.type, channel).size), Dim.of(0));
  const to: Axis = { name: channel, size: total, origin: null };
  const [queries, keys] = (["query", "key"] as const).map((side) =>
    b.concat(
      ordered.map((p) => p[side]),
      channel,
      to,
    ),
  ) as [Node, Node];
  const latent = freshLabel("latent", [...attend.inputs.map((x) => x.type), value.weight.type]);
  const width = { ...axisOf(value.latent.type, value.over), name: latent };
  const [first] = ordered;
  const values =
    first !== undefined && isOf(first, value)
      ? b.slice(keys, channel, 0, width)
      : b.rename(value.latent, value.over, latent);
  const inner = b.must("attend", [queries, keys, values, ...sink], attend.attrs, attend.origin);
  if (attend.attrs.part === "logsum") return { attend: inner, result: inner };
  const apart = [...value.labels].reduce<Node>(
    (x, [own, label]) => (hasAxis(x.type, label) ? b.rename(x, label, `${own}"`) : x),
    inner,
  );
  const named = [...value.labels].reduce(
    (x, [own]) => (hasAxis(x.type, `${own}"`) ? b.rename(x, `${own}"`, own) : x),
    apart,
  );
  const out = b.dot(b.rename(named, latent, value.over), value.weight, [value.over]);
  const back = [...value.labels].reduce((x, [own, label]) => b.rename(x, own, `${label}"`), out);
  const result = [...value.labels].reduce((x, [, label]) => b.rename(x, `${label}"`, label), back);
  return {
    attend: inner,
    result: b.transpose(
      result,
      attend.type.axes.map((a) => a.name),
    ),
  };
}

interface KeyPart {
  readonly query: Node;
  readonly key: Node;
  readonly expansion: Expansion | null;
}

function isOf(part: KeyPart, value: Expansion): boolean {
  return part.expansion !== null && part.expansion.latent === value.latent && part.expansion.over === value.over;
}

/** The keys' channels in runs that are latents or have no heads already, and the queries of the same runs; null where one is neither. */
function partsOf(b: Builder, q: Node, k: Node, channel: string): readonly KeyPart[] | null {
  const joined = isOp(k, "concat") && k.attrs.to.name === channel;
  const keys = joined ? k.inputs.map((x) => b.rename(x, (k as Node<"concat">).attrs.axis, channel)) : [k];
  const parts: KeyPart[] = [];
  let start = 0;
  for (const key of keys) {
    const own = axisOf(key.type, channel);
    const { value: size } = own.size;
    if (size === null) return null;
    const query = queriesOf(b, q, channel, start, own);
    start += size;
    const expansion = findExpansion(key);
    if (expansion !== null && expansion.labels.size > 1) {
      const [latentQuery, latent] = queryLatent(b, query, expansion, channel);
      parts.push({ query: latentQuery, key: latent, expansion });
    } else if (key.type.axes.every((a) => a.name === TIME || a.name === channel))
      parts.push({ query, key, expansion: null });
    else return null;
  }
  return parts;
}

function queriesOf(b: Builder, q: Node, channel: string, start: number, part: Axis): Node {
  if (isOp(q, "concat") && q.attrs.to.name === channel) {
    let at = 0;
    for (const x of q.inputs) {
      const own = axisOf(x.type, q.attrs.axis);
      if (at === start && own.size.equals(part.size)) return b.rename(x, q.attrs.axis, channel);
      at += own.size.value ?? 0;
    }
  }
  return b.slice(q, channel, start, part);
}

function cacheWidth(attend: Node): number {
  return shapesOf(attend).reduce((n, { row }) => n + rowWidth(row), 0);
}
