/**
 * Every attribute of every op reaches the GPU: changed alone, it changes what the oracle gives, and the GPU's result with it. An op without
 * a case here is met by the samples of its row. With every template of attention and of the delta rule.
 */
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Attrs, OpName } from "../../../compiler/graph/attrs.ts";
import { Dim } from "../../../compiler/graph/dim.ts";
import type { GraphFunction, Node, Program } from "../../../compiler/graph/node.ts";
import { Graph, isOp } from "../../../compiler/graph/node.ts";
import { parseAxis, parseType } from "../../../compiler/graph/parse.ts";
import { topologicalOrder } from "../../../compiler/graph/traverse.ts";
import { formatType } from "../../../compiler/graph/type.ts";
import { findPeeks } from "../../../compiler/passes/incrementalise.ts";
import type { DeviceFacts } from "../../../compiler/plan/plan.ts";
import { attendGradTemplates, attendTemplates, deltaTemplates } from "../../../compiler/codegen/kernel/select.ts";
import { Builder } from "../../../compiler/ops/builder.ts";
import { isMismatch } from "../../../compiler/ops/mismatch.ts";
import { ops } from "../../../compiler/ops/table.ts";
import { compareOutputs, evaluateWhole } from "../../support/compare-plan.ts";
import { likeGpu } from "../../support/facts.ts";
import type { TestGpu } from "../../support/gpu.ts";
import { openTestGpu } from "../../support/gpu.ts";
import { samplesOf, typesOfSample, varySample } from "../../support/sample-op.ts";
import { canRun } from "../../support/templates.ts";

const T = 6;
let gpu: TestGpu;
beforeAll(async () => {
  gpu = await openTestGpu();
});
afterAll(() => gpu.close());

/** An attribute that no result of a single op can show, and who reads it. */
interface Unseen {
  readonly unseen: string;
}

interface Case<O extends OpName> {
  /** Types of the inputs. */
  readonly of: readonly string[];
  readonly attrs: Attrs[O];
  /** For every attribute, another value for it, or several. */
  readonly vary: { readonly [A in keyof Attrs[O]]-?: Unseen | readonly [Attrs[O][A], ...Attrs[O][A][]] };
}

const states: Unseen = { unseen: "a name, given by incrementalise" };
const reduced = { of: ["f32[T, D=4, E=5]"], attrs: { axes: ["D"] }, vary: { axes: [["E"], ["D", "E"]] } } as const;
const along = (name: string) => parseAxis(name);
const times: Unseen = { unseen: "there is one time axis" };

const cases: { readonly [O in OpName]?: Case<O> } = {
  input: {
    of: [],
    attrs: { name: "x", type: parseType("f32[T, D=4]") },
    vary: { name: ["y"], type: [parseType("f32[T, D=3]")] },
  },
  param: {
    of: [],
    attrs: { path: "w", type: parseType("f32[E=3, D=4]") },
    vary: { path: ["v"], type: [parseType("f32[E=3, D=5]")] },
  },
  constant: { of: [], attrs: { value: 5, dtype: "f32" }, vary: { value: [3], dtype: ["u32", "i32"] } },
  iota: { of: [], attrs: { axis: along("D=4") }, vary: { axis: [along("D=5"), along("E=4")] } },
  position: { of: [], attrs: { axis: along("T") }, vary: { axis: times } },
  sequence: { of: [], attrs: { axis: along("T") }, vary: { axis: times } },
  length: { of: [], attrs: { axis: along("T") }, vary: { axis: times } },
  values: {
    of: [],
    attrs: { axis: along("D=3"), values: [1, 2.5, -3] },
    vary: { axis: [along("E=3")], values: [[4, 2.5, -3]] },
  },
  cast: { of: ["f32[T, D=4]"], attrs: { to: "i32" }, vary: { to: ["f32", "u32", "bool"] } },
  sum: reduced,
  reduce_max: reduced,
  reduce_min: reduced,
  pool: {
    of: ["f32[T, D=4]"],
    attrs: { scope: "batch", reduce: "sum", buffer: null },
    vary: {
      scope: { unseen: "the batched program has a reduction in its place" },
      reduce: { unseen: "the batched program has a reduction in its place" },
      buffer: { unseen: "the batched program has a reduction in its place" },
    },
  },
  rename: { of: ["f32[T, D=4]"], attrs: { from: "D", to: "E" }, vary: { from: ["T"], to: ["F"] } },
  split: {
    of: ["f32[T, D=6, F=6]"],
    attrs: { axis: "D", into: [along("A=2"), along("B=3")] },
    vary: { axis: ["F"], into: [[along("A=3"), along("B=2")]] },
  },
  merge: {
    of: ["f32[T, A=2, B=3]"],
    attrs: { axes: ["A", "B"], to: along("D=6") },
    vary: { axes: [["B", "A"]], to: [along("A=6"), along("F=6")] },
  },
  slice: {
    of: ["f32[T, D=6, E=6]"],
    attrs: { axis: "D", start: 1, to: along("F=3") },
    vary: { axis: ["E"], start: [0, 2], to: [along("F=2"), along("D=3")] },
  },
  roll: {
    of: ["f32[T, D=5, E=5]"],
    attrs: { axis: "D", by: 1 },
    vary: { axis: ["E", "T"], by: [-1, 3, -13] },
  },
  broadcast: { of: ["f32[T, D=4]"], attrs: { axes: [along("E=2")] }, vary: { axes: [[along("E=3")], [along("F=2")]] } },
  transpose: { of: ["f32[T, D=4, E=3]"], attrs: { order: ["D", "T", "E"] }, vary: { order: [["E", "D", "T"]] } },
  concat: {
    of: ["f32[T, D=4, E=4]", "f32[T, D=4, E=4]"],
    attrs: { axis: "D", to: along("D=8") },
    vary: { axis: { unseen: "changed with the joined axis below" }, to: [along("F=8")] },
  },
  dot: {
    of: ["f32[T, D=4, E=4]", "f32[T, D=4, E=4]"],
    attrs: { axes: ["D"] },
    vary: { axes: [["E"], ["D", "E"]] },
  },
  spread: {
    of: ["f32[T, K=2, D=4]", "u32[T, K=2]"],
    attrs: { axis: along("V=5"), over: ["T", "K"] },
    vary: { axis: [along("V=3")], over: [["K"]] },
  },
  take: { of: ["f32[T, D=4, E=4]", "u32[T, K=3]"], attrs: { axis: "D" }, vary: { axis: ["E"] } },
  topk: {
    of: ["f32[T, D=6, E=6]"],
    attrs: { axis: "D", k: along("K=2"), part: "values" },
    vary: { axis: ["E", "T"], k: [along("K=3"), along("J=2")], part: ["indices", "ranks"] },
  },
  cumsum: {
    of: ["f32[T, D=4]"],
    attrs: { axis: "D", exclusive: false },
    vary: { axis: ["T"], exclusive: [true] },
  },
  attend: {
    of: ["f32[T, H=2, C=4]", "f32[T, C=4]", "f32[T, C=4]", "f32[H=2]"],
    attrs: { channel: "C", causal: true, window: null, scale: 1.5, softcap: null, state: null },
    vary: {
      channel: { unseen: "another channel needs other inputs" },
      causal: [false],
      window: [2],
      scale: [0.5],
      softcap: [0.4],
      chunk: [3],
      part: ["logsum"],
      state: states,
    },
  },
  attend_grad: {
    of: ["f32[T, H=2, C=4]", "f32[T, C=4]", "f32[T, C=4]", "f32[T, H=2, C=4]", "f32[T, H=2, Z=2]"],
    attrs: { channel: "C", causal: true, window: null, scale: 1.5, softcap: null, part: "q" },
    vary: {
      channel: { unseen: "another channel needs other inputs" },
      causal: [false],
      window: [2],
      scale: [0.5],
      softcap: [0.4],
      chunk: [3],
      part: ["k", "v"],
    },
  },
  delay: {
    of: ["f32[T, D=4]"],
    attrs: { by: 1, state: null },
    vary: {
      by: [0, 2, -1, -3, 9],
      reach: { unseen: "rows of the state, worked out by incrementalise" },
      state: states,
    },
  },
  scan: {
    of: ["f32[T, P=2, D=4]", "f32[T, P=2, D=4]"],
    attrs: { pair: null, reverse: false, state: null },
    vary: { pair: ["P"], reverse: [true], state: states },
  },
  delta_rule: {
    of: ["f32[T, H=2, C=3]", "f32[T, H=2, C=3]", "f32[T, H=2, V=5]", "f32[T, H=2]"],
    attrs: { channel: "C", part: "out", reverse: false, state: null },
    vary: {
      channel: { unseen: "another channel needs other inputs" },
      part: ["error"],
      reverse: [true],
      state: states,
    },
  },
  call: {
    of: ["f32[T, D=4]"],
    attrs: { fn: "f", path: "a[0]", part: 0, type: parseType("f32[T, D=4]") },
    vary: {
      fn: ["g"],
      path: ["a[1]"],
      part: [1],
      type: { unseen: "what the function's result has" },
    },
  },
};

/** Two attributes at once, where each acts on the other. */
const together: { readonly [O in OpName]?: readonly Partial<Attrs[O]>[] } = {
  concat: [{ axis: "E", to: along("E=8") }],
  slice: [{ start: 3, to: along("D=3") }],
  cumsum: [{ axis: "T", exclusive: true }],
  attend: [
    { causal: false, window: 2 },
    { causal: false, chunk: 3 },
    { causal: false, softcap: 0.4, window: 3, chunk: 4 },
    { window: 2, chunk: 3, softcap: 0.7 },
  ],
  attend_grad: [
    { part: "q", causal: false, chunk: 3, softcap: 0.4 },
    { part: "k", causal: false, window: 2 },
    { part: "k", window: 2, chunk: 3, softcap: 0.7 },
    { part: "v", causal: false, window: 3, chunk: 4 },
  ],
  scan: [{ pair: "P", reverse: true }],
  delta_rule: [{ part: "error", reverse: true }],
};

/** Templates that each op's kernel may be made of. */
const templates: { readonly [O in OpName]?: readonly object[] } = {
  attend: attendTemplates.map(({ name }) => ({ force: { attend: name } })),
  attend_grad: attendGradTemplates.map(({ name }) => ({ force: { attendGrad: name } })),
  delta_rule: deltaTemplates.map(({ name }) => ({ force: { delta: name } })),
  scan: [{}, { facts: likeGpu }],
};

const names = Object.keys(ops) as readonly OpName[];

function caseOf(op: OpName): Case<OpName> {
  const known = cases[op] as Case<OpName> | undefined;
  if (known !== undefined) return known;
  const [sample] = samplesOf(op);
  if (sample === undefined) throw new Error(`give the row of \`${op}\` a sample`);
  const vary = varySample(op, sample) as Case<OpName>["vary"];
  return { of: inTime(op, typesOfSample(sample), sample.attrs), attrs: sample.attrs, vary };
}

/** The first operand for each token, where the op takes it so, and what is no float: that is never a parameter. */
function inTime(op: OpName, of: readonly string[], attrs: object): readonly string[] {
  if (/\bT\b/.test(of[0] ?? "")) return of;
  const timed = of.map((type, i) =>
    i === 0 || !type.startsWith("f32") ? type.replace("[", type.endsWith("[]") ? "[T" : "[T, ") : type,
  );
  const b = new Builder(new Graph());
  const inputs = timed.map((type, i) => b.must("param", [], { path: `w${i}`, type: parseType(type) }));
  return isMismatch(b.add(op, inputs, attrs as Attrs[OpName])) ? of : timed;
}

test.each(names)("%s", async (op) => {
  const { of, attrs, vary } = caseOf(op);
  const variants: { readonly title: string; readonly attrs: object }[] = [{ title: "as it is", attrs }];
  for (const [name, values] of Object.entries(vary as Readonly<Record<string, Unseen | readonly unknown[]>>))
    if (!("unseen" in values))
      for (const value of values)
        variants.push({ title: `${name}: ${JSON.stringify(value)}`, attrs: { ...attrs, [name]: value } });
  for (const more of together[op] ?? []) variants.push({ title: JSON.stringify(more), attrs: { ...attrs, ...more } });
  const seen = new Set<string>();
  for (const variant of variants) {
    const program = programOf(op, of, variant.attrs);
    const [result] = Object.values(evaluateWhole(program, T, chosen));
    const text = JSON.stringify([formatType(program.main.outputs[0]!.node.type), [...result!.data]]);
    expect(seen, `${op} ${variant.title} changes what the oracle gives`).not.toContain(text);
    seen.add(text);
    const regimes = findPeeks(program).length > 0 ? (["whole"] as const) : (["prefill", "decode"] as const);
    for (const { facts, force } of (templates[op] ?? [{}]) as readonly {
      facts?: Partial<DeviceFacts>;
      force?: Record<string, string>;
    }[]) {
      if (force !== undefined && !canRun(Object.values(force)[0]!, gpu.facts)) continue;
      const device = { ...gpu.facts, ...facts };
      const many = force?.["delta"] === "delta-chunked" ? regimes.filter((r) => r !== "decode") : regimes;
      await compareOutputs(program, gpu, T, chosen, many, { device, ...(force === undefined ? {} : { force }) });
    }
  }
});

/** Indices below every size that is picked from, and flags. */
const chosen = {
  ...Object.fromEntries(
    ["u32", "bool"].flatMap((t) => [0, 1].map((i) => [`${t}${i}`, pattern(i, t === "u32" ? 4 : 2)])),
  ),
};

function pattern(shift: number, below: number): readonly number[] {
  return Array.from({ length: 200 }, (_, i) => (7 * i + (i >> 2) + shift) % below);
}

function programOf(op: OpName, of: readonly string[], attrs: object): Program {
  const b = new Builder(new Graph());
  const operands = of.map((text, i): Node => {
    const type = parseType(text);
    const name = type.dtype === "f32" ? `x${i}` : `${type.dtype}${i % 2}`;
    if (type.axes[0]?.name !== "T") return b.must("param", [], { path: name, type });
    const x = b.must("input", [], { name, type });
    return isPositive(op) ? b.plus(b.times(x, x), 0.25) : op === "cast" ? b.times(x, 9) : x;
  });
  const inputs = topologicalOrder(operands).filter((n): n is Node<"input"> => isOp(n, "input"));
  if (op === "call") return callProgram(b, inputs, attrs as Attrs["call"]);
  const node = b.must(op, operands, attrs as Attrs[OpName]);
  // What is only relabelled or read is computed with, so that there is a kernel.
  const used = b.over(node.type.dtype === "bool" ? b.must("cast", [node], { to: "u32" }) : node, 2);
  const all = op === "input" ? [node as Node<"input">] : inputs;
  return mainOf(all, used, new Map());
}

/** Where a function has a value, or where its samples say that it has. */
const isPositive = (op: OpName): boolean =>
  positive.includes(op) ||
  (cases[op] === undefined &&
    samplesOf(op).every(({ inputs }) => inputs.every(({ data }) => data.every((x) => x > 0))));

const positive: readonly string[] = ["log", "sqrt", "rsqrt", "pow", "div", "mod"];

function callProgram(b: Builder, inputs: readonly Node<"input">[], attrs: Attrs["call"]): Program {
  const [x] = inputs as [Node<"input">];
  const functions = ["f", "g"].map((name, i): [string, GraphFunction] => {
    const w = b.must("param", [], {
      path: "a[#].w",
      type: { dtype: "f32", axes: [{ ...along("D=4"), size: Dim.of(4) }] },
    });
    const first = b.plus(b.times(x, w), i);
    const outputs = [first, b.tanh(first)].map((node, k) => ({ name: `out${k}`, role: "result", node }) as const);
    return [name, { name, inputs: [x], outputs }];
  });
  const main = b.must("input", [], { name: "y", type: x.type });
  return mainOf([main], b.times(b.must("call", [main], attrs), 2), new Map(functions));
}

function mainOf(inputs: readonly Node<"input">[], node: Node, functions: Program["functions"]): Program {
  return { main: { name: "main", inputs, outputs: [{ name: "out", role: "result", node }] }, functions };
}
