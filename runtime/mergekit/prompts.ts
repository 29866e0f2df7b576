/**
 * Router rows from prompts, as mergekit's `cheap_embed` has them: the sum of the embeddings of all tokens of the positive prompts, of
 * length one, minus that of the negative ones, of length one again. What is returned are the weights of tokens in that sum, so
 * that a rule can say it over the embedding of the base.
 */
import { statSync } from "node:fs";
import { failure } from "../../grammar/diagnostic.ts";
import { loadTokenizer, type DataType, toFloat32, type Tokenizer } from "../checkpoint/index.ts";
import { type LoadedModel, loadModel } from "../model.ts";
import type { Expert, MergekitConfig } from "./config.ts";

/** Weights by token id. */
export type Mix = ReadonlyMap<number, number>;

/** Where the embedding is, in every model that has one. */
const EMBEDDING = "embed.w";

/** A row per expert, those of shared experts last. Throws `import/missing-key`, `import/bad-value`, `import/unsupported`. */
export async function mixPrompts(config: MergekitConfig): Promise<readonly Mix[]> {
  const { base, gate, experts, shared } = config;
  const all = [...experts, ...shared];
  checkPrompts(config);
  if (statSync(base.value, { throwIfNoEntry: false })?.isDirectory() !== true)
    throw failure("import/unsupported", `\`${gate!.value}\` needs the base model's embedding and tokenizer`, {
      labels: [{ span: base.span, text: "this is no folder here" }],
      help: "fetch the model, and write its folder",
    });
  const tokenizer = await loadTokenizer(base.value);
  const model = await loadModel(base.value);
  try {
    const rows: Mix[] = [];
    for (const expert of all) rows.push(await mixExpert(expert, tokenizer, model));
    return rows;
  } finally {
    await model.checkpoint.close();
  }
}

function checkPrompts({ experts, shared }: MergekitConfig): void {
  const without = [...experts, ...shared].find((e) => e.positive.length === 0);
  if (without !== undefined)
    throw failure("import/missing-key", "`positive_prompts` is missing", {
      labels: [{ span: without.source.span, text: "of this expert" }],
      help: "write texts that should go to it, or `gate_mode: random`",
    });
  const texts = new Set(experts.map(({ positive, negative }) => JSON.stringify([positive, negative])));
  if (texts.size === 1 && experts.length > 1)
    throw failure(
      "import/bad-value",
      "all experts have the same prompts, so that the router could not tell them apart",
      {
        labels: [{ span: experts[1]!.source.span, text: "the same as before it" }],
        help: "give each its own, or write `gate_mode: random`",
      },
    );
}

async function mixExpert({ positive, negative }: Expert, tokenizer: Tokenizer, model: LoadedModel): Promise<Mix> {
  const mix = await unit(countTokens(positive, tokenizer), model);
  if (negative.length === 0) return mix;
  const away = await unit(countTokens(negative, tokenizer), model);
  const both = new Map(mix);
  for (const [id, weight] of away) both.set(id, (both.get(id) ?? 0) - weight);
  return unit(new Map([...both].filter(([, weight]) => weight !== 0)), model);
}

/** How often each token is in the prompts, each behind the token that begins a text. */
function countTokens(prompts: readonly string[], tokenizer: Tokenizer): Mix {
  const begin = tokenizer.bosId === null ? "" : tokenizer.decode([tokenizer.bosId]);
  const ids = prompts.flatMap((prompt) => tokenizer.encode(begin + prompt));
  return new Map([...Map.groupBy(ids, (id) => id)].map(([id, same]) => [id, same.length]));
}

/** Scaled so that the sum of embeddings has length one. */
async function unit(mix: Mix, { model, source }: LoadedModel): Promise<Mix> {
  const width = model.parameters.find((p) => p.path === EMBEDDING)!.axes[1]!.size;
  const sum = new Float64Array(width);
  for (const [id, weight] of mix) {
    const bytes = await source.read(EMBEDDING, id * width, width);
    const row = toFloat32(source.storage(EMBEDDING).toUpperCase() as DataType, bytes);
    for (let i = 0; i < width; i++) sum[i]! += weight * row[i]!;
  }
  const length = Math.max(Math.hypot(...sum), 1e-8);
  return new Map([...mix].map(([id, weight]) => [id, weight / length]));
}
