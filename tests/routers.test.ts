/**
 * Every router of the standard library, found by walking it, against what every router has to do, and against its formula written
 * a second time. What a router says about time is held to what it does.
 */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { compileProgram } from "../compiler/pipeline.ts";
import type { Value } from "../compiler/ops/define.ts";
import type { EntryRegime } from "../compiler/plan/plan.ts";
import type { TestGpu } from "./support/gpu.ts";
import { openTestGpu } from "./support/gpu.ts";
import { openPlan } from "./support/plan-run.ts";
import { testedNames, usual } from "./support/library.ts";
import { formulas, multiply, nameIn } from "./support/router-formulas.ts";
import type { TestRouter } from "./support/routers.ts";
import {
  gatesOf,
  inputOf,
  makeRouter,
  makeWidest,
  placeOf,
  routeOnOracle,
  routerNames,
  trainedOtherwise,
} from "./support/routers.ts";

const { D, N } = usual as { D: number; N: number };
const T = 5;
let gpu: TestGpu;
beforeAll(async () => {
  gpu = await openTestGpu();
});
afterAll(() => gpu.close());

/** Rows of numbers in [-4, 4], decided by the seed. */
function tokens(count: number, seed = 1): number[][] {
  let state = seed;
  const next = (): number => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) / 2 ** 32;
  return Array.from({ length: count }, () => Array.from({ length: D }, () => Math.round((next() - 0.5) * 1024) / 128));
}

const gates = (router: TestRouter, x: readonly (readonly number[])[]): number[][] =>
  gatesOf(routeOnOracle(router, x), x.length, N);

test("the library has routers of all kinds", () => {
  expect(routerNames.length).toBeGreaterThan(14);
  expect(trainedOtherwise.length).toBeGreaterThan(2);
});

const written = new Set(Object.keys(formulas).map(nameIn));
test(`${written.size} of ${routerNames.length} routers are written a second time, and every router says what it does in a test of its own`, () => {
  expect([...written].filter((name) => !routerNames.includes(name))).toEqual([]);
  expect(written.size).toBeGreaterThan(20);
  expect(routerNames.filter((name) => !testedNames.has(name))).toEqual([]);
});

const cases = [
  ...routerNames.map((name) => [name, name, "evaluate"] as const),
  ...trainedOtherwise.map((name) => [`${name}, training`, name, "train"] as const),
];

describe.each(cases)("%s", (_, name, purpose) => {
  const router = makeRouter(name, {}, purpose);
  // Registered only where they say something: nothing to skip elsewhere.
  const whereAlone = router.mixes ? () => {} : test;
  const looksAhead = router.peeks.length > 0;

  test("weights are finite, and choices are distinct and in range", () => {
    expectRoute(routeOnOracle(router, tokens(T)), T);
  });

  test("weights are shares of something, none below zero, before anything is learned", () => {
    const { weight, out } = routeOnOracle(router, tokens(T), router.first);
    expect([...(weight ?? out)!.data].filter((x) => !(x >= 0))).toEqual([]);
  });

  test("equal tokens, huge tokens and one token are routed like any other", () => {
    const equal = Array.from({ length: T }, () => Array<number>(D).fill(0));
    expectRoute(routeOnOracle(router, equal), T);
    expectRoute(routeOnOracle(router, scaled(tokens(T), 2500)), T);
    const single = makeRouter(name, { Z: 1 }, purpose);
    expectRoute(routeOnOracle(single, tokens(1)), 1);
  });

  test("all experts may be chosen", () => {
    const all = makeWidest(name, { kept: 3, groups: 3, Z: T }, purpose);
    expectRoute(routeOnOracle(all, tokens(T)), T);
  });

  const wherePlaceless = router.readsPosition ? () => undefined : whereAlone;

  wherePlaceless("tokens in another order are routed the same", () => {
    const order = [3, 0, 4, 2, 1];
    const plain = gates(router, tokens(T));
    const turned = gates(
      router,
      order.map((t) => tokens(T)[t]!),
    );
    expect(turned).toEqual(order.map((t) => plain[t]));
  });

  test("a later token, by what or that it is, changes earlier routes exactly if the router is said to look ahead", () => {
    const changed = [1, 2, 3, 4, 5, 6, 7, 8].some((seed) => {
      const x = tokens(T, seed);
      const earlier = x.slice(0, -1);
      const before = (all: readonly (readonly number[])[]): string => String(gates(router, all).slice(0, T - 1));
      return [earlier, [...earlier, tokens(1, seed + 100)[0]!]].some((other) => before(other) !== before(x));
    });
    expect(changed).toBe(looksAhead);
  });

  test("a GPU routes as the oracle does, the same each time", async () => {
    for (const regime of looksAhead ? (["whole"] as const) : (["prefill", "decode"] as const)) {
      const run = await openRouter(router, regime);
      for (const x of [tokens(T), Array.from({ length: T }, () => Array<number>(D).fill(0)), scaled(tokens(T), 2500)]) {
        const found = await run(x);
        expectNear(gatesOf(found, T, N), gates(router, x));
        expect(await run(x)).toEqual(found);
      }
      const fewest = tokens(router.fewest);
      expectNear(gatesOf(await run(fewest), router.fewest, N), gates(router, fewest));
    }
  });
});

describe("a router does what its paper says", () => {
  test.each(Object.entries(formulas))("%s", (title, { own = {}, purpose, within = "", gates: formula, logits }) => {
    const router = makeRouter(nameIn(title), own, purpose);
    const param = (path: string): number[][] => rowsOf(router.params(`${within}${path}`));
    for (const seed of [1, 2, 3]) {
      const x = tokens(T, seed);
      const z = logits?.(x, param) ?? multiply(x, param("score.w"));
      expectNear(gates(router, x), formula(z, param));
    }
  });
});

/** A compiled router: results for tokens, by name. */
async function openRouter(router: TestRouter, regime: EntryRegime) {
  const { program, params } = router;
  const entries = program.main.outputs.map((o) => ({ output: o.name, regimes: [regime] as const }));
  const plan = compileProgram(program, {
    model: router.name,
    device: gpu.facts,
    storage: () => "f32",
    entries,
    verify: true,
  });
  const run = openPlan(plan, gpu, params, { T, Q: T, S: 1, P: T });
  return async (x: readonly (readonly number[])[]): Promise<Record<string, Value>> => {
    const shapes = routeOnOracle(router, x);
    const all = x.map((_, t) => t);
    const given = Object.entries(inputOf(router, x)).map(([name, v]) => [name, [...v.data]]);
    const inputs = { position: all, slot: all.map(() => 0), wanted: all, ...Object.fromEntries(given) };
    const results: Record<string, Value> = {};
    for (const entry of plan.entries) {
      const sizes = { T: x.length, Q: x.length, S: 1, P: x.length };
      for (const [name, data] of Object.entries(await run.step(entry.name, sizes, inputs))) {
        const numbers = name === "index" ? new Uint32Array(data.buffer, data.byteOffset, data.length) : data;
        results[name] = { axes: shapes[name]!.axes, data: Float64Array.from(numbers) };
      }
    }
    return results;
  };
}

function expectRoute(results: Readonly<Record<string, Value>>, count: number): void {
  const { index, weight, out } = results;
  for (const x of (weight ?? out)!.data) expect(Number.isFinite(x), `weight ${x}`).toBe(true);
  if (index === undefined) return;
  const byTokens = index.axes.some((a) => a.name === "T");
  const owner = byTokens ? "T" : "N";
  const chosen = [...index.data].map((i, at) => ({
    i,
    owner: placeOf(index, at)[owner],
    counts: weight!.data[at] !== 0,
  }));
  for (const { i } of chosen)
    expect(Number.isInteger(i) && i >= 0 && i < (byTokens ? N : count), `index ${i}`).toBe(true);
  // A slot of weight 0 does nothing, wherever it points.
  const used = chosen.filter((c) => c.counts);
  expect(new Set(used.map((c) => `${c.owner}: ${c.i}`)).size).toBe(used.length);
}

function expectNear(found: readonly (readonly number[])[], expected: readonly (readonly number[])[]): void {
  const wrong = expected.flatMap((row, t) =>
    row.flatMap((x, n) =>
      Math.abs(found[t]![n]! - x) <= 1e-4 * Math.max(1, Math.abs(x))
        ? []
        : [`[${t}, ${n}] is ${found[t]![n]}, not ${x}`],
    ),
  );
  expect(wrong).toEqual([]);
}

function rowsOf({ axes, data }: Value): number[][] {
  const width = axes.at(-1)!.size;
  return Array.from({ length: data.length / width }, (_, r) => [...data.slice(r * width, (r + 1) * width)]);
}

function scaled(x: readonly (readonly number[])[], by: number): number[][] {
  return x.map((row) => row.map((v) => v * by));
}
