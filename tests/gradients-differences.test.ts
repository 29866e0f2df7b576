/**
 * Gradients of families that have no golden ones, and of models that the library makes, held to what the loss of their logits does when
 * weights move a little, along random directions: two programs and two ways that share only kernels. Every expert is chosen, so that
 * no choice changes on the way; what routers then state as losses does not change either.
 */
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Json, Model } from "../compiler/index.ts";
import { toFloat32 } from "../runtime/checkpoint/data-type.ts";
import { openDevice } from "../runtime/dawn/open-device.ts";
import type { Device } from "../runtime/gpu/device.ts";
import type { ParameterSource } from "../runtime/gpu/parameters.ts";
import { openCheckpoint } from "../runtime/load/open-checkpoint.ts";
import { openOn } from "../runtime/session/open-model.ts";
import { parameterSource } from "../runtime/model/parameter-source.ts";
import { expandMap, findMap, makeModel, readConfig } from "../compiler/index.ts";
import { DiagnosticBag } from "../grammar/index.ts";
import { parseConfig } from "../runtime/model/config-file.ts";
import { openWorkspace } from "../runtime/load/modules.ts";
import { gradientsOf } from "../runtime/training/gradients.ts";
import { configOf, familyFolder } from "./support/made-checkpoint.ts";
import { modelOf } from "./support/programs.ts";
import { Draw, drawWeights } from "./support/random-models.ts";

const [SEQUENCES, T] = [2, 12];
const TOLERANCE = 1e-3;

let device: Device;
beforeAll(async () => {
  device = await openDevice();
});
afterAll(() => device.close());

type Weights = ReadonlyMap<string, Float32Array>;

interface Case {
  readonly model: Model;
  readonly weights: Weights;
  /** Words. */
  readonly words: number;
}

/** A fixture with some settings of its config.json changed. */
async function openFamily(name: string, changes: Readonly<Record<string, Json>>): Promise<Case> {
  const config = { ...configOf(name), ...changes };
  const file = parseConfig("config.json", JSON.stringify(config));
  const map = findMap(openWorkspace(), file);
  const model = makeModel(readConfig(map, file), map.item.span);
  const checkpoint = await openCheckpoint(familyFolder(name));
  try {
    const { entries } = expandMap(map, model, new Set(checkpoint.tensors.keys()), new DiagnosticBag());
    const weights = await readAll(model, parameterSource(checkpoint, entries));
    return { model, weights, words: config["vocab_size"] as number };
  } finally {
    await checkpoint.close();
  }
}

async function openMade(name: string, settings: string): Promise<Case> {
  const model = modelOf(`
import { ${name} } from "std"
config tiny: ${name} { V: 31  L: 2  D: 10  F: 12  G: 1  R: 2  C: 4  ${settings} }`);
  return { model, weights: await readAll(model, drawWeights(model, "f32", new Draw(5)).source), words: 31 };
}

async function readAll(model: Model, source: ParameterSource): Promise<Weights> {
  const all = new Map<string, Float32Array>();
  for (const { path, axes } of model.parameters) {
    const length = axes.reduce((n, axis) => n * axis.size, 1);
    all.set(path, toFloat32("F32", await source.read(path, 0, length)));
  }
  return all;
}

const sourceOf = (weights: Weights): ParameterSource => ({
  storage: () => "f32",
  read: async (path, start, length) => new Uint8Array(weights.get(path)!.slice(start, start + length).buffer),
});

/** Mean over all tokens with a next one, in float64 over the logits. */
async function lossOf({ model, words }: Case, weights: Weights, ids: readonly number[][]): Promise<number> {
  const session = await openOn(device, { model, source: sourceOf(weights) }, { capacity: T });
  try {
    const logits = await session.forward(ids);
    const losses = ids.flatMap((sequence, i) =>
      sequence.slice(1).map((target, t) => {
        const row = logits[i]!.subarray(t * words, (t + 1) * words);
        return Math.log(row.reduce((sum, x) => sum + Math.exp(x), 0)) - row[target]!;
      }),
    );
    return losses.reduce((a, b) => a + b) / losses.length;
  } finally {
    session.close();
  }
}

/** For every third parameter, each element by up to its root mean square or so. */
function drawDirection(weights: Weights, paths: readonly string[], third: number, draw: Draw): Weights {
  return new Map(
    paths
      .filter((_, i) => i % 3 === third)
      .map((path) => {
        const values = weights.get(path)!;
        const size = Math.sqrt((3 * values.reduce((sum, x) => sum + x * x, 0)) / values.length);
        return [path, values.map(() => size * (2 * draw.next() - 1))];
      }),
  );
}

const along = (direction: Weights, gradients: Weights): number =>
  [...direction].reduce((sum, [path, d]) => d.reduce((s, x, i) => s + x * gradients.get(path)![i]!, sum), 0);

const cases: Readonly<Record<string, () => Promise<Case>>> = {
  gemma2: () => openFamily("gemma2", {}),
  gpt2: () => openFamily("gpt2", {}),
  "deepseek_v3, all experts": () => openFamily("deepseek_v3", { num_experts_per_tok: 8, topk_group: 4 }),
  "gpt_oss, all experts": () => openFamily("gpt_oss", { num_experts_per_tok: 6 }),
  "SparseLlama, all experts": () => openMade("SparseLlama", "N: 3  K: 3  dense: [0]"),
};

test.each(Object.entries(cases))("%s", async (_, open) => {
  const given = await open();
  const draw = new Draw(3);
  const ids = Array.from({ length: SEQUENCES }, () => Array.from({ length: T }, () => draw.below(given.words)));
  const { model, weights } = given;
  const { loss, terms, gradients } = await gradientsOf(device, { model, source: sourceOf(weights) }, ids);
  const stated = [...terms.values()].reduce((a, b) => a + b, 0);
  expect(Math.abs(loss - stated - (await lossOf(given, weights, ids)))).toBeLessThan(1e-5);
  const paths = [...gradients.keys()];
  for (const third of [0, 1, 2]) {
    // Where the loss hardly moves, a difference shows rounding alone.
    const drawn = Array.from({ length: 4 }, () => drawDirection(weights, paths, third, draw));
    const slopes = drawn.map((direction) => along(direction, gradients));
    const slope = slopes.reduce((a, b) => (Math.abs(b) > Math.abs(a) ? b : a));
    const direction = drawn[slopes.indexOf(slope)]!;
    const lossAt = (step: number): Promise<number> => {
      const moved = [...direction].map(([path, d]): [string, Float32Array] => [
        path,
        weights.get(path)!.map((w, i) => w + step * d[i]!),
      ]);
      return lossOf(given, new Map([...weights, ...moved]), ids);
    };
    const difference = async (h: number): Promise<number> => ((await lossAt(h)) - (await lossAt(-h))) / (2 * h);
    // Without the third power of the step. Richardson (1911).
    const found = (4 * (await difference(0.01)) - (await difference(0.02))) / 3;
    expect(Math.abs(found / slope - 1), `third ${third}: ${found}, not ${slope}`).toBeLessThan(TOLERANCE);
  }
});
