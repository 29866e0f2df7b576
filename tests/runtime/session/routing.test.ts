/** What routers say of themselves: on the GPU it is what the oracle says, however the texts are cut into steps. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { buildProgram, compileModel, evaluateProgram, type Model } from "../../../compiler/index.ts";
import { compile } from "../../../runtime/session/open-model.ts";
import { openDevice } from "../../../runtime/dawn/open-device.ts";
import type { Device } from "../../../runtime/gpu/device.ts";
import { collectMetrics } from "../../../runtime/session/metrics.ts";
import { describeLoad, ROUTING_METRICS, traceRouting } from "../../../runtime/session/routing.ts";
import { openSession, type Session } from "../../../runtime/session/session.ts";
import { randomParams } from "../../support/compare-plan.ts";
import { modelOf } from "../../support/programs.ts";

let device: Device;
beforeAll(async () => void (device = await openDevice()));
afterAll(() => device.close());

const names =
  "Attention, Embedding, Linear, MoE, Nexus, NoisyTopK, NormalizedTopK, ReLU, RMSNorm, SigmoidTopK, Soft, SoftmaxTopK, SparseMixer, Switch, TopK, TopP";

/** A model of two blocks whose feed-forward part is `ffn`, for 5 experts. */
const mixture = (ffn: string, apply = "h + ffn(norm2(h))", more = ""): Model =>
  modelOf(`import { ${names} } from "std"
${more}
layer Block(D, F, N) {
  norm1 = RMSNorm(D)
  attn  = Attention(D, 1, 2, 8)
  norm2 = RMSNorm(D)
  ${ffn}
  forward(x: [T, D]) -> [T, D] {
    h = x + attn(norm1(x))
    return ${apply}
  }
}

model Small(V, D, F, N) {
  embed  = Embedding(V -> D)
  blocks = 2 of Block(D, F, N)
  head   = Linear(D -> V)
  forward(ids: u32[T]) -> f32[T, V] {
    x = embed(ids)
    for b in blocks { x = b(x) }
    return f32(head(x))
  }
}

config it: Small { V: 37  D: 16  F: 12  N: 5 }
`);

const sourceOf = (params: ReturnType<typeof randomParams>) => ({
  storage: () => "f32" as const,
  read: async (path: string, start: number, length: number) =>
    new Uint8Array(Float32Array.from(params(path).data.subarray(start, start + length)).buffer),
});

const batch = [23, 1, 40].map((length, s) => Array.from({ length }, (_, i) => (i * i + 5 * i * s + s) % 37));

async function withMetrics<R>(
  model: Model,
  metrics: readonly string[],
  stepTokens: number,
  use: (session: Session) => Promise<R>,
): Promise<R> {
  const source = sourceOf(randomParams(buildProgram(model.instance)));
  const plan = compile(model, device, source, metrics);
  const session = await openSession({ plan, device, source, capacity: 64, stepTokens });
  return use(session).finally(() => session.close());
}

/** Each metric by name, over all sequences. */
function expectedMetrics(model: Model): Record<string, number[]> {
  const program = buildProgram(model.instance);
  const params = randomParams(program);
  const all: Record<string, number[]> = {};
  for (const ids of batch) {
    const T = ids.length;
    const given = { ids: { axes: [{ name: "T", size: T }], data: Float64Array.from(ids) } };
    const results = evaluateProgram(program, { inputs: given, params, sizes: { T } });
    for (const { name, role } of program.main.outputs) {
      if (role !== "metric") continue;
      const { axes, data } = results[name]!;
      const before = all[name];
      const perToken = axes.some((a) => a.name === "T");
      all[name] =
        before === undefined ? [...data] : perToken ? [...before, ...data] : before.map((x, i) => x + data[i]!);
    }
  }
  return all;
}

const routers: readonly (readonly [router: string, slots: number | null])[] = [
  ["TopK(K: 2)", 2],
  ["SoftmaxTopK(K: 3)", 3],
  ["NormalizedTopK(K: 2)", 2],
  ["NoisyTopK(K: 2, seed: 3)", 2],
  ["SparseMixer(K: 2)", 2],
  ["Switch()", 1],
  ["SigmoidTopK(K: 2)", 2],
  ["Nexus(K: 2, E: 4, H: 8)", 2],
  ["Soft()", null],
  ["ReLU()", null],
  ["TopP()", null],
];

describe.each(routers)("%s", (router, slots) => {
  test("tells on the GPU what the oracle tells, and its loads add up", async () => {
    const model = mixture(`ffn   = MoE(D, F, N, ${router})`);
    const expected = expectedMetrics(model);
    for (const stepTokens of [512, 7]) {
      const metrics = await withMetrics(model, ROUTING_METRICS, stepTokens, (s) => collectMetrics(s, batch));
      expect(metrics).toHaveLength(slots === null ? 2 : 4);
      for (const { name, data } of metrics) {
        expect(data.length, name).toBe(expected[name]!.length);
        data.forEach((x, i) => expect(Math.abs(x - expected[name]![i]!), `${name}[${i}]`).toBeLessThan(1e-3));
        const total = data.reduce((a, b) => a + b, 0);
        if (name.endsWith(".expert_load") && slots !== null) expect(total).toBe(64 * slots);
      }
    }
  });
});

test("choices are counted by their loads, layer by layer", async () => {
  const routing = await withMetrics(mixture("ffn   = MoE(D, F, N, TopK(K: 2))"), ROUTING_METRICS, 512, (s) =>
    traceRouting(s, batch),
  );
  expect(routing.tokens).toBe(64);
  expect(routing.layers.map((l) => l.part)).toEqual(["blocks[0]", "blocks[1]"]);
  routing.choices.forEach(({ part, perToken, experts }, i) => {
    expect([part, perToken]).toEqual([`blocks[${i}]`, 2]);
    const counts = Array.from({ length: 5 }, (_, n) => experts.filter((e) => e === n).length);
    expect(counts).toEqual(routing.layers[i]!.load);
  });
});

test("two routers of one layer are told apart", async () => {
  const model = mixture(
    "ffn   = MoE(D, F, N, TopK(K: 2))\n  extra = MoE(D, F, N, Switch())",
    "h + ffn(norm2(h)) + extra(norm2(h))",
  );
  const { layers } = await withMetrics(model, ROUTING_METRICS, 512, (s) => traceRouting(s, batch));
  const totals = layers.map(({ part, load }) => [part, load.reduce((a, b) => a + b, 0)]);
  expect(totals).toEqual([
    ["blocks[0]", 128],
    ["blocks[0].extra.pick", 64],
    ["blocks[1]", 128],
    ["blocks[1].extra.pick", 64],
  ]);
});

test("metrics that nobody asks for leave no trace in a plan, and those asked for none in the other entries", () => {
  const model = mixture("ffn   = MoE(D, F, N, TopK(K: 2))");
  const options = { device: device.facts, storage: () => "f32" as const };
  const [plain, counting] = [compileModel(model, options), compileModel(model, { ...options, metrics: ["expert"] })];
  const shapes = (plan: typeof plain) =>
    plan.entries
      .filter((e) => e.name !== "metrics.prefill")
      .map((e) => [
        e.name,
        e.outputs,
        e.steps.flatMap((s) => (s.kind === "repeat" ? s.steps : [s])).map((d) => d.label),
      ]);
  expect(shapes(counting)).toEqual(shapes(plain));
  expect(JSON.stringify(plain)).not.toContain("expert_load");
  expect(counting.entries.find((e) => e.name === "metrics.prefill")?.outputs).toEqual([
    "blocks[0].expert",
    "blocks[1].expert",
    // Shows what whole numbers hide: that what they come from is NaN.
    "nll",
  ]);
});

test("a metric that is no sum over tokens is taken of whole texts, however short the steps", async () => {
  const router = `
router Mean(D, N) {
  score = Linear(D -> N)
  forward(x: [T, D]) -> dense[T, N] {
    p = softmax[N](f32(score(x)))
    metric expert_load = mean[T](p)
    return p
  }
}
`;
  const model = mixture("ffn   = MoE(D, F, N, Mean())", "h + ffn(norm2(h))", router);
  const expected = expectedMetrics(model);
  const metrics = await withMetrics(model, ["expert_load"], 7, (s) => collectMetrics(s, batch));
  expect(metrics).toHaveLength(2);
  for (const { name, data } of metrics)
    data.forEach((x, i) => expect(Math.abs(x - expected[name]![i]!), `${name}[${i}]`).toBeLessThan(1e-3));
});

test("a model without routers is told so before anything is uploaded", () => {
  const model = mixture("ffn   = RMSNorm(D)");
  expect(() => compile(model, device, { storage: () => "f32" }, ROUTING_METRICS)).toThrow(
    "no part of `Small` declares a metric `expert_load`",
  );
});

test("evenness is told by entropy, the busiest expert and the dead", () => {
  expect(describeLoad("a", [4, 4, 4, 4])).toMatchObject({ entropy: 1, maxOverMean: 1, dead: [] });
  expect(describeLoad("a", [8, 0, 0, 0])).toMatchObject({ entropy: 0, maxOverMean: 4, dead: [1, 2, 3] });
  expect(describeLoad("a", [2, 2, 0, 0])).toMatchObject({ entropy: 0.5, maxOverMean: 2, dead: [2, 3] });
  expect(describeLoad("a", [7])).toMatchObject({ entropy: 1, maxOverMean: 1, dead: [] });
});
