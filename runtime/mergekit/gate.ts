/**
 * How routers begin: mergekit's `gate_mode`. Rows from prompts are rules too: sums of embeddings of their tokens, or what the base's
 * feed-forwards are given when it runs on them. mergekit takes the residual stream that enters the layer; a router sees the
 * normalised stream behind attention, and that is what is taken here.
 */
import { failure } from "../../grammar/diagnostic.ts";
import type { Architecture } from "./architecture.ts";
import type { MergekitConfig } from "./config.ts";
import { checkPrompts, greatestId, listText, type Tokens, tokenizePrompts } from "./prompts.ts";

export interface Gate {
  /** Rules for the router, and for the gate of a shared expert, below `blocks[l].ffn`. */
  readonly rules: readonly string[];
  /** What sources must have for them. */
  readonly conditions: readonly string[];
}

/** What each row is drawn from. */
const DRAWN: Readonly<Record<string, string>> = {
  random: "normal(std: 1.0, seed: seed)",
  uniform_random: "uniform(bound: pow(D, -0.5), seed: seed)",
};

/** Rows are made of embeddings of prompts. */
const EMBEDDED = "cheap_embed";

/** Rows are what the base has at a prompt's last token, or in the mean. */
const HIDDEN: Readonly<Record<string, string>> = { hidden: "last", hidden_last: "last", hidden_avg: "mean" };

/** Taken where a configuration says nothing. */
const USUAL = "hidden";

/** Throws `import/unsupported`, `import/missing-key`, `import/bad-value`. */
export async function makeGate(all: MergekitConfig, architecture: Architecture): Promise<Gate> {
  // Where a shared expert has no gate, it takes no row.
  const config = architecture.prompts === false ? { ...all, shared: [] } : all;
  const { gate, base, shared } = config;
  const mode = gate?.value ?? USUAL;
  if (Object.hasOwn(DRAWN, mode))
    return { rules: [`pick.score.w = ${DRAWN[mode]}`, ...shared.map(() => `gate.w = ${DRAWN[mode]}`)], conditions: [] };
  if (mode === EMBEDDED) {
    checkPrompts(config);
    const tokens = await tokenizePrompts(config);
    const sum = (texts: readonly string[]): string => unit(`sum[V](base.embed.w, at: ${idsText(texts, tokens)})`);
    return { rules: rowRules(config, sum), conditions: [`V > ${greatestId(tokens)}`] };
  }
  if (Object.hasOwn(HIDDEN, mode)) {
    checkPrompts(config);
    const mean = (texts: readonly string[]): string =>
      `mean[T](input(base.blocks[l].mlp, text: ${listText(texts)}, each: "${HIDDEN[mode]}"))`;
    return { rules: rowRules(config, mean), conditions: [] };
  }
  throw failure("import/unsupported", `routers cannot be made by \`gate_mode: ${mode}\``, {
    labels: [{ span: (gate ?? base).span, text: "here" }],
    notes: [`known are ${[...Object.keys(DRAWN), EMBEDDED, ...Object.keys(HIDDEN)].join(", ")}`],
    help: "write one of these; rows of your own come with `--set`",
  });
}

const unit = (row: string): string => `normalize[D](${row})`;

const idsText = (texts: readonly string[], tokens: Tokens): string =>
  `[${texts.flatMap((text) => tokens.get(text)!).join(", ")}]`;

/** A row per expert, and behind them that of a shared expert: what its prompts give, without what its negative ones do, of length one. */
function rowRules({ experts, shared }: MergekitConfig, give: (texts: readonly string[]) => string): readonly string[] {
  const rows = [...experts, ...shared].map(({ positive, negative }) =>
    negative.length === 0 ? unit(give(positive)) : unit(`${give(positive)} - ${give(negative)}`),
  );
  return [
    `pick.score.w = stack[N](${rows.slice(0, experts.length).join(", ")})`,
    // Its one row is along an axis of its own.
    ...rows.slice(experts.length).map((row) => `gate.w = stack[single](${row})`),
  ];
}
