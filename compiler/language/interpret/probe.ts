/**
 * What parts of a model are given, told beside the results: the first input of a part whose path is among a context's probes becomes a
 * metric, as if its `forward` had said so. So what routers say of themselves and what layers are given go one way through the compiler.
 */
import { insideTemplate, plainPath, withHoles } from "../../graph/path.ts";
import { hasAxis, TIME } from "../../graph/type.ts";
import type { Env } from "./context.ts";
import type { Instance } from "./value.ts";

/** The last word of such a metric's name; no `metric` statement can write it. */
const WORD = "(input)";

/** `blocks[3].mlp.(input)`: the metric that tells what the part `blocks[3].mlp` is given. */
export function givenTo(part: string): string {
  return part === "" ? WORD : `${part}.${WORD}`;
}

/** The probe of a part: its path with plain holes, which stands for that part of every layer of a stack. */
export function probeOf(part: string): string {
  return withHoles(part);
}

/** f32 [T, ...], time first. Other inputs, such as the tokens of a model, are not told; nor are those of which some tokens are left out. */
export function tellGiven(inner: Env, instance: Instance): void {
  const { ctx, sink, kept } = inner;
  const port = instance.decl.forward?.params[0];
  if (sink === null || port === undefined || !ctx.probes.has(plainPath(instance.path))) return;
  const value = inner.locals.get(port.name.text);
  if (value?.kind !== "tensor" || kept != null) return;
  const { node } = value;
  if (node.type.dtype !== "f32" || !hasAxis(node.type, TIME)) return;
  const names = node.type.axes.map((a) => a.name);
  // A layer's own metrics have their names from the layer on.
  const part = insideTemplate(instance.path);
  const ordered = ctx.builder.transpose(node, [TIME, ...names.filter((n) => n !== TIME)]);
  sink.push({ name: givenTo(part), role: "metric", node: ordered });
}
