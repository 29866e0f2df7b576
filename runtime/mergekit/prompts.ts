/**
 * Router rows from prompts, as mergekit's `cheap_embed` has them: the sum of the embeddings of all tokens of the positive prompts, of
 * length one, minus that of the negative ones, of length one again. What is returned are tokens and factors, so that a rule can
 * say the row over the embedding of the base.
 */
import { statSync } from "node:fs";
import { failure } from "../../grammar/diagnostic.ts";
import { loadTokenizer, type DataType, toFloat32, type Tokenizer } from "../checkpoint/index.ts";
import { type LoadedModel, loadModel } from "../model.ts";
import type { Expert, MergekitConfig } from "./config.ts";

/** A factor and the tokens whose embeddings it is for, in the order of the text. */
export interface Part {
  readonly factor: number;
  readonly ids: readonly number[];
}

/** A row: the sum of its parts. */
export type Row = readonly Part[];

/** Where the embedding is, in every model that has one. */
const EMBEDDING = "embed.w";

/** A row per expert, those of shared experts last. Throws `import/missing-key`, `import/bad-value`, `import/unsupported`. */
export async function mixPrompts(config: MergekitConfig): Promise<readonly Row[]> {
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
    const rows: Row[] = [];
    for (const expert of all) rows.push(await mixRow(expert, tokenizer, model));
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

async function mixRow({ positive, negative }: Expert, tokenizer: Tokenizer, model: LoadedModel): Promise<Row> {
  const toward = await unitPart(tokensOf(positive, tokenizer), model);
  if (negative.length === 0) return [toward.part];
  const away = await unitPart(tokensOf(negative, tokenizer), model);
  const length = lengthOf(toward.sum.map((x, i) => x - away.sum[i]!));
  return [scale(toward.part, 1 / length), scale(away.part, -1 / length)];
}

const scale = ({ factor, ids }: Part, by: number): Part => ({ factor: factor * by, ids });

/** As mergekit has it, never 0. */
const lengthOf = (row: Float64Array): number => Math.max(Math.sqrt(row.reduce((n, x) => n + x * x, 0)), 1e-8);

/** All tokens of all prompts, each prompt behind the token that begins a text. */
function tokensOf(prompts: readonly string[], tokenizer: Tokenizer): readonly number[] {
  const begin = tokenizer.bosId === null ? "" : tokenizer.decode([tokenizer.bosId]);
  return prompts.flatMap((prompt) => tokenizer.encode(begin + prompt));
}

/** Tokens scaled so that the sum of their embeddings has length one, and that sum: [D]. */
async function unitPart(
  ids: readonly number[],
  { model, source }: LoadedModel,
): Promise<{ readonly part: Part; readonly sum: Float64Array }> {
  const width = model.parameters.find((p) => p.path === EMBEDDING)!.axes[1]!.size;
  const dtype = source.storage(EMBEDDING).toUpperCase() as DataType;
  const sum = new Float64Array(width);
  for (const id of ids) {
    const row = toFloat32(dtype, await source.read(EMBEDDING, id * width, width));
    for (let i = 0; i < width; i++) sum[i]! += row[i]!;
  }
  const factor = 1 / lengthOf(sum);
  return { part: { factor, ids }, sum: sum.map((x) => x * factor) };
}
