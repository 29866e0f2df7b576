/** What a language model is measured by, as further outputs of its program. */
import type { Node, Output, Program } from "../graph/node.ts";
import { TIME, findAxis } from "../graph/type.ts";
import type { Builder } from "../ops/builder.ts";

/** The output that says what each token's target costs. */
export const LIKELIHOOD = "nll";

/** With an output `nll` f32 [T] and its input `target` u32 [T], where the logits are one row of numbers per token. */
export function addLikelihood(program: Program, b: Builder): Program {
  const { main } = program;
  const logits = main.outputs.find((o) => o.name === "logits")?.node;
  const [word, ...more] = logits?.type.axes.filter((a) => a.name !== TIME) ?? [];
  const time = logits === undefined ? null : findAxis(logits.type, TIME);
  if (logits === undefined || word === undefined || more.length > 0 || time === null) return program;
  const target: Node<"input"> = b.must("input", [], { name: "target", type: { dtype: "u32", axes: [time] } });
  const top = b.reduceMax(logits, [word.name]);
  const total = b.log(b.sum(b.exp(b.minus(logits, top)), [word.name]));
  const node = b.minus(b.plus(total, top), b.take(logits, target, word.name));
  const outputs = [...main.outputs, { name: LIKELIHOOD, role: "result", node } as const];
  return { ...program, main: { ...main, inputs: [...main.inputs, target], outputs } };
}

/**
 * With one `loss`, the number that training lowers, in place of all others: the mean `nll` of the tokens of a micro-batch whose input
 * `counted` f32 [T] is 1, not 0, and every loss that a layer states. Null where there is no likelihood.
 */
export function addObjective(program: Program, b: Builder): Program | null {
  const scored = addCounted(program, b);
  if (scored === null) return null;
  const { nll, counted } = scored;
  const mean = b.over(total(b.times(nll, counted), b), total(counted, b));
  return withLoss(scored.program, mean, (loss) => loss, b);
}

/** Numbers that the host says of an optimizer step: what a counted token weighs in the loss, and what a micro-batch does. */
export const STEP_SHARES = { token: "share.token", micro: "share.micro" } as const;

/**
 * The same for one of the micro-batches of an optimizer step: its share of the loss, so that the shares add up to the loss of the whole step
 * whatever counts in each. The output `nll` is the share without what layers state, `loss.` and a name what all layers state by that name.
 */
export function addStepObjective(program: Program, b: Builder): Program | null {
  const share = (path: string): Node => b.must("param", [], { path, type: { dtype: "f32", axes: [] } });
  const scored = addCounted(program, b);
  if (scored === null) return null;
  const { nll, counted } = scored;
  const own = b.times(total(b.times(nll, counted), b), share(STEP_SHARES.token));
  const made = withLoss(scored.program, own, (loss) => b.times(loss, share(STEP_SHARES.micro)), b);
  const outputs = made.main.outputs.map((o): Output => (o.name === LIKELIHOOD ? { ...o, role: "loss", node: own } : o));
  const terms = new Map<string, Node>();
  for (const { name, role, node } of program.main.outputs) {
    if (role !== "loss") continue;
    const term = termOf(name);
    const before = terms.get(term);
    const weighed = b.times(node, share(STEP_SHARES.micro));
    terms.set(term, before === undefined ? weighed : b.plus(before, weighed));
  }
  const more = [...terms].map(([name, node]): Output => ({ name, role: "loss", node }));
  return { ...made, main: { ...made.main, outputs: [...outputs, ...more] } };
}

/** `loss.balance` of `blocks[3].ffn.pick.balance`. */
export function termOf(name: string): string {
  return `loss.${name.slice(name.lastIndexOf(".") + 1)}`;
}

/** Over all tokens of a micro-batch. */
function total(x: Node, b: Builder): Node {
  return b.must("pool", [b.sum(x, [TIME])], { scope: "batch", reduce: "sum", buffer: null });
}

/** With the likelihood and the input that says which tokens count. */
function addCounted(
  program: Program,
  b: Builder,
): { readonly program: Program; readonly nll: Node; readonly counted: Node } | null {
  const scored = addLikelihood(program, b);
  const { main } = scored;
  const nll = main.outputs.find((o) => o.name === LIKELIHOOD)?.node;
  if (nll === undefined) return null;
  const counted: Node<"input"> = b.must("input", [], { name: "counted", type: nll.type });
  return { program: { ...scored, main: { ...main, inputs: [...main.inputs, counted] } }, nll, counted };
}

/** One `loss` in place of all: the mean and what layers state. */
function withLoss({ main, functions }: Program, mean: Node, weigh: (loss: Node) => Node, b: Builder): Program {
  const node = main.outputs.reduce((sum, o) => (o.role === "loss" ? b.plus(sum, weigh(o.node)) : sum), mean);
  const loss: Output = { name: "loss", role: "loss", node };
  return { functions, main: { ...main, outputs: [...main.outputs.filter((o) => o.role !== "loss"), loss] } };
}
