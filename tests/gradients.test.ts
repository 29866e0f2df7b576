/**
 * Reverse-mode gradients against central differences on the float64 oracle: every layer and router of the standard library, found by
 * walking it, by each of its parameters and inputs; and what only whole programs have: calls, sharing, `detach`.
 */
import { describe, expect, test } from "vitest";
import type { Node, Program } from "../compiler/graph/node.ts";
import { Graph, isOp } from "../compiler/graph/node.ts";
import { printProgram } from "../compiler/graph/print.ts";
import { outputNodes, rewriteNodes, rewriteProgram, topologicalOrder } from "../compiler/graph/traverse.ts";
import type { TensorType } from "../compiler/graph/type.ts";
import { batchProgram, differentiateProgram } from "../compiler/index.ts";
import { Builder } from "../compiler/ops/builder.ts";
import type { Value } from "../compiler/ops/define.ts";
import { evaluateProgram } from "../compiler/reference/interpret.ts";
import { verifyProgram } from "../compiler/verify/graph.ts";
import { randomParams } from "./support/compare-plan.ts";
import { bindInputs, weighted } from "./support/gradient-program.ts";
import { makeLayer, namesOf } from "./support/library.ts";
import { programOf } from "./support/programs.ts";

const T = 5;

describe.each(namesOf())("%s", (name) => {
  test("its gradients are the differences of its results and losses", () => {
    const { program, b, states } = makeLayer(name);
    compareGradients(weighted(program, b), b, states);
  });
});

test("the walk found layers and routers", () => expect(namesOf().length).toBeGreaterThan(40));

const tower = (layers: number, more = ""): string => `import { Attention, MoE, RMSNorm, SoftmaxTopK } from "std"
layer Inner(D) {
  norm = RMSNorm(D)
  attn = Attention(D, 1, 2, 2)
  forward(x: [T, D]) -> [T, D] = x + attn(norm(x))
}
layer Outer(D, M) {
  rows = M of Inner(D)
  ffn  = MoE(D, 3, 4, SoftmaxTopK(K: 2, scope: "batch"))
  forward(x: [T, D]) -> [T, D] {
    for r in rows { x = r(x) }
    return x + ffn(x)
  }
}
model Tower(D, L, M) {
  blocks = L of Outer(D, M)
  scale  = param[D](ones)
  forward(x: [T, D]) -> [T, D] {
    for b in blocks { x = b(x) }
    ${more}
    return x * scale
  }
}
config c: Tower { D: 4  L: ${layers}  M: 2 }
`;

describe("a program of layers in layers", () => {
  test("has the gradients of its differences, for one sequence and for a batch with losses over it", () => {
    const b = new Builder(new Graph());
    compareGradients(weighted(copy(programOf(tower(2)), b), b), b);
    compareGradients(batchProgram(weighted(copy(programOf(tower(2)), b), b), b).program, b);
  });

  test("weights that are used twice get both parts", () => {
    const b = new Builder(new Graph());
    compareGradients(weighted(copy(programOf(tower(2, "for b in blocks { x = b(x * scale) }")), b), b), b);
  });

  test("a function is differentiated once, however many layers call it", () => {
    const [few, many] = [2, 9].map((layers) => {
      const b = new Builder(new Graph());
      return differentiateProgram(weighted(copy(programOf(tower(layers)), b), b), "loss", b);
    });
    const gradients = (p: Program): string[] => [...p.functions.keys()].filter((name) => name.includes(":gradient:"));
    expect(gradients(few!)).toHaveLength(2);
    expect(gradients(many!)).toEqual(gradients(few!));
    expect(printProgram(many!)).toContain('"blocks[8]"');
  });
});

test("nothing flows through `detach`, nor to a state; what has no part in the number has no gradient", () => {
  const text = `layer Cut(D) {
  w      = param[D]
  v      = param[D]
  u      = param[D]
  bias   = state[D](zeros)
  forward(x: [T, D]) -> [T, D] {
    metric other = sum[T, D](u * x)
    return w * x + detach(v * x) + bias
  }
}
model One(D) {
  cut = Cut(D)
  forward(x: [T, D]) -> [T, D] = cut(x)
}
config c: One { D: 2 }
`;
  const b = new Builder(new Graph());
  const { main } = differentiateProgram(weighted(copy(programOf(text), b), b), "loss", b);
  expect(main.outputs.map((o) => o.name)).toEqual(["loss", "grad.cut.w"]);
});

/** Every parameter and float input, by one random direction each. */
function compareGradients(given: Program, b: Builder, states: ReadonlySet<string> = new Set()): void {
  const runtime = { T, batch: 2 };
  const program = bindInputs(given, b);
  const inputs = Object.fromEntries(
    program.main.inputs.map((n): [string, Value] => [n.attrs.name, fill(n.type, runtime, (i) => (i * 3) % 4)]),
  );
  const floats = new Map(
    given.main.inputs.map((n) => [n.attrs.name, fill(n.type, runtime, (i) => Math.sin(7.3 * i + n.attrs.name.length))]),
  );
  const random = randomParams(program);
  const read = new Set<string>();
  const params = (path: string): Value => {
    read.add(path);
    return floats.get(path) ?? random(path);
  };
  const run = (p: Program): Record<string, Value> => evaluateProgram(p, { inputs, params, sizes: runtime });
  const differentiated = differentiateProgram(program, "loss", b);
  expect(verifyProgram(differentiated)).toEqual([]);
  const gradients = run(differentiated);
  const fixed = fixDetached(program, b);
  const values = run(fixed.before);
  const moved = { ...inputs, ...Object.fromEntries(fixed.names.map((name) => [name, values[name]!])) };
  for (const path of read) {
    if (states.has(path)) {
      expect(gradients).not.toHaveProperty([`grad.${path}`]);
      continue;
    }
    const value = params(path);
    const along = value.data.map((_, i) => Math.cos(5.1 * i + path.length));
    const lossAt = (by: number): number => {
      const data = value.data.map((x, i) => x + by * along[i]!);
      return evaluateProgram(fixed.after, {
        inputs: moved,
        params: (p) => (p === path ? { ...value, data } : params(p)),
        sizes: runtime,
      })["loss"]!.data[0]!;
    };
    const step = 1e-5;
    const difference = (lossAt(step) - lossAt(-step)) / (2 * step);
    const gradient = gradients[`grad.${path}`]?.data.reduce((sum, g, i) => sum + g * along[i]!, 0) ?? 0;
    expect(Math.abs(gradient - difference) / Math.max(1, Math.abs(difference)), path).toBeLessThan(1e-6);
  }
}

/** The program in the builder's graph. */
function copy(program: Program, b: Builder): Program {
  return rewriteProgram(program, (node, inputs) => b.must(node.op, inputs, node.attrs));
}

/**
 * What main detaches stands still while the rest moves: `before` gives its values by name, and `after` takes them. In the functions of
 * the programs here only counts are detached, which do not move.
 */
function fixDetached(
  program: Program,
  b: Builder,
): { readonly names: readonly string[]; readonly before: Program; readonly after: Program } {
  const { main } = program;
  const detached = topologicalOrder(outputNodes(main)).filter((n) => isOp(n, "detach"));
  const names = detached.map((_, i) => `fixed${i}`);
  const outputs = detached.map((node, i) => ({ name: names[i]!, role: "metric", node }) as const);
  const inputs = detached.map(({ type }, i) => b.must("input", [], { name: names[i]!, type }));
  const image = (node: Node, own: readonly Node[]): Node =>
    inputs[detached.indexOf(node as Node<"detach">)] ?? b.must(node.op, own, node.attrs);
  const loss = { ...main.outputs[0]!, node: rewriteNodes(outputNodes(main), image)[0]! };
  return {
    names,
    before: { ...program, main: { ...main, outputs: [...main.outputs, ...outputs] } },
    after: { ...program, main: { ...main, inputs: [...main.inputs, ...inputs], outputs: [loss] } },
  };
}

function fill(type: TensorType, runtime: Readonly<Record<string, number>>, value: (i: number) => number): Value {
  const axes = type.axes.map((a) => ({ name: a.name, size: a.size.evaluate(runtime) }));
  return { axes, data: Float64Array.from({ length: axes.reduce((n, a) => n * a.size, 1) }, (_, i) => value(i)) };
}
