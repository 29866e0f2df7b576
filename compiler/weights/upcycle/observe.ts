/**
 * What a part of a source is given, from the source's program with that as a metric: whether there is such a thing, and by the oracle its
 * values.
 */
import type { Program } from "../../graph/node.ts";
import { TIME } from "../../graph/type.ts";
import { givenTo, probeOf } from "../../language/interpret/probe.ts";
import { buildProgram, type Model, newContext } from "../../language/model/model.ts";
import { evaluateProgram } from "../../reference/interpret.ts";
import type { Activation, Prompt } from "./recipe.ts";

type Weights = ReadonlyMap<string, Float64Array>;

/** How prompts become tokens. */
export interface Prompts {
  /** Throws a `MoeError` where a source has no tokenizer. */
  readonly tokenize: (source: number, text: string) => readonly number[];
  /** The longest prompt that a source was made for; null where nothing says. */
  readonly longest: (source: number) => number | null;
  /** On small instances: every id is taken modulo the vocabulary, since a small one has not those that are meant. */
  readonly wraps: boolean;
}

/** A text is its letters there. */
export const SMALL_PROMPTS: Prompts = {
  tokenize: (_, text) => Array.from(text, (letter) => letter.codePointAt(0)!),
  longest: () => null,
  wraps: true,
};

/** Programs that tell what parts are given, one per model and probe. */
const known = new WeakMap<Model, Map<string, Program>>();

function programOf(model: Model, part: string): Program {
  const programs = known.get(model) ?? new Map<string, Program>();
  known.set(model, programs);
  const probe = probeOf(part);
  const program =
    programs.get(probe) ?? buildProgram(model.instance, newContext("build", undefined, "evaluate", new Set([probe])));
  programs.set(probe, program);
  return program;
}

/** The axes beside time of what a part is given; null where the model does not apply it once, to numbers of every token. */
export function sizesGiven(model: Model, part: string): readonly number[] | null {
  const { main } = programOf(model, part);
  const [only, ...more] = main.outputs.filter((o) => o.name === givenTo(part));
  return only === undefined || more.length > 0 || main.inputs.length !== 1
    ? null
    : only.node.type.axes.filter((a) => a.name !== TIME).map((a) => a.size.value ?? 0);
}

/** Size of the vocabulary: columns of the logits. */
export function vocabularyOf(model: Model, part: string): number {
  return programOf(model, part).main.outputs[0]?.node.type.axes.at(-1)?.size.value ?? 0;
}

/** Elements of activations in float64, [rows, width] each: the meaning that a run on a device is held to. */
export function evaluateActivations(
  activations: readonly Activation[],
  models: readonly Model[],
  weights: readonly Weights[],
): ReadonlyMap<Activation, Float64Array> {
  const runs = new Map<string, ArrayLike<number>>();
  return new Map(
    activations.map((activation) => {
      const { source, part, width, rows } = activation;
      const data = new Float64Array(rows.length * width);
      rows.forEach((row, r) => {
        for (const { prompt, tokens, weight } of row) {
          const key = JSON.stringify([source, part, prompt.ids]);
          const given = runs.get(key) ?? runPrompt(models[source]!, weights[source]!, part, prompt);
          runs.set(key, given);
          for (const token of tokens)
            for (let i = 0; i < width; i++) data[r * width + i]! += weight * given[token * width + i]!;
        }
      });
      return [activation, data];
    }),
  );
}

function runPrompt(model: Model, weights: Weights, part: string, { ids }: Prompt): ArrayLike<number> {
  const { main, functions } = programOf(model, part);
  const axes = new Map(model.parameters.map((p) => [p.path, p.axes]));
  const name = givenTo(part);
  const results = evaluateProgram(
    { main: { ...main, outputs: main.outputs.filter((o) => o.name === name) }, functions },
    {
      inputs: {
        [main.inputs[0]!.attrs.name]: { axes: [{ name: TIME, size: ids.length }], data: Float64Array.from(ids) },
      },
      params: (path) => ({ axes: axes.get(path)!, data: weights.get(path)! }),
      sizes: { [TIME]: ids.length },
    },
  );
  return results[name]!.data;
}
