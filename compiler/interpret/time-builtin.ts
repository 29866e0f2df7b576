/** Functions that mix positions by what came before: attention, delays, recurrences, the delta rule. */
import type { Node } from "../graph/node.ts";
import { resolveAxis } from "./axes.ts";
import { addNode, report } from "./context.ts";
import type { Given } from "./given.ts";
import { number, option, withAxis, withNodes } from "./given.ts";
import type { Value } from "./value.ts";
import { ERROR } from "./value.ts";

export const timeBuiltins: Readonly<Record<string, (g: Given) => Value>> = {
  attend: (g) => withNodes(g, Math.max(3, g.positional.length), (nodes) => attend(g, nodes)),
  delay: (g) => withNodes(g, 1, ([x]) => delay(g, x!)),
  scan: (g) =>
    withNodes(g, 2, ([a, b]) =>
      addNode(g.env, "scan", [a!, b!], { pair: pairAxis(g), reverse: false, state: null }, g.span),
    ),
  delta_rule: (g) =>
    withNodes(g, 4, (nodes) =>
      withAxis(g, ({ name: channel }) =>
        addNode(g.env, "delta_rule", nodes, { channel, part: "out", reverse: false, state: null }, g.span),
      ),
    ),
};

function attend(g: Given, nodes: readonly Node[]): Value {
  const [q, k] = nodes;
  const named = g.brackets.length > 0 ? resolveAxis(g.env, g.brackets[0]!) : (q!.type.axes.at(-1) ?? null);
  if (named === null) return ERROR;
  const channel = named.name;
  if (!k!.type.axes.some((a) => a.name === channel)) {
    return report(
      g.env,
      "shape/missing-axis",
      `queries and keys are compared over \`${channel}\`, which the keys do not have`,
      g.span,
      `keys have [${k!.type.axes.map((a) => a.name).join(", ")}]`,
      "name the channel axis: `attend[C](q, k, v)`",
    );
  }
  const scale = option(g, "scale", null);
  const window = option(g, "window", null);
  const softcap = option(g, "softcap", null);
  const chunk = option(g, "chunk", null);
  return addNode(
    g.env,
    "attend",
    nodes,
    {
      channel,
      causal: option(g, "causal", true) !== false,
      window: typeof window === "number" ? window : null,
      scale: typeof scale === "number" ? scale : 1 / Math.sqrt(named.size.value ?? 1),
      softcap: typeof softcap === "number" ? softcap : null,
      ...(typeof chunk === "number" ? { chunk } : {}),
      state: null,
    },
    g.span,
  );
}

function delay(g: Given, x: Node): Value {
  const by = number(g, 1);
  if (by !== null && Number.isInteger(by) && by >= 0)
    return by === 0 ? { kind: "tensor", node: x } : addNode(g.env, "delay", [x], { by, state: null }, g.span);
  return report(
    g.env,
    "type/bad-operand",
    "`delay` goes back a whole number of tokens",
    g.span,
    by === null ? "not given" : `this is ${by}`,
    "write `delay(x, 1)`",
  );
}

/** `scan[P](a, b)`: P holds real and imaginary parts. */
function pairAxis(g: Given): string | null {
  const [item] = g.brackets;
  return item === undefined ? null : (resolveAxis(g.env, item)?.name ?? null);
}
