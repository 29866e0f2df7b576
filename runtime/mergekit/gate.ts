/** How routers begin: mergekit's `gate_mode`. */
import { failure } from "../../grammar/diagnostic.ts";
import type { MergekitConfig } from "./config.ts";
import { numberText } from "./number.ts";
import { mixPrompts, type Row } from "./prompts.ts";

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

/** Taken where a configuration says nothing. */
const USUAL = "hidden";

/** Throws `import/unsupported`, and what `mixPrompts` throws. */
export async function makeGate(config: MergekitConfig): Promise<Gate> {
  const { gate, base, experts, shared } = config;
  const mode = gate?.value ?? USUAL;
  if (mode === EMBEDDED) return embeddedGate(await mixPrompts(config), experts.length);
  const drawn = Object.hasOwn(DRAWN, mode) ? DRAWN[mode]! : null;
  if (drawn !== null)
    return { rules: [`pick.score.w = ${drawn}`, ...shared.map(() => `gate.w = ${drawn}`)], conditions: [] };
  throw failure("import/unsupported", `routers cannot be made by \`gate_mode: ${mode}\``, {
    labels: [
      { span: (gate ?? base).span, text: gate === null ? `\`gate_mode\` is missing, which means ${USUAL}` : "here" },
    ],
    notes: [`known are ${[...Object.keys(DRAWN), EMBEDDED].join(", ")}`],
    help: `write \`${EMBEDDED}\`, which goes by the prompts' tokens, or \`random\`, and train the router; rows of your own come with \`--set\``,
  });
}

/** Rows of the router, the same in every layer, and behind them that of a shared expert. */
function embeddedGate(rows: readonly Row[], experts: number): Gate {
  const greatest = Math.max(...rows.flatMap((row) => row.flatMap((part) => part.ids)));
  const [own, shared] = [rows.slice(0, experts), rows.slice(experts)];
  return {
    rules: [
      `pick.score.w = stack[N](${own.map(sumText).join(", ")})`,
      // Its one row is along an axis of its own.
      ...shared.map((row) => `gate.w = stack[single](${sumText(row)})`),
    ],
    conditions: [`V > ${greatest}`],
  };
}

function sumText(row: Row): string {
  return row
    .map(({ factor, ids }, i) => {
      const sign = factor < 0 ? (i === 0 ? "-" : " - ") : i === 0 ? "" : " + ";
      return `${sign}${numberText(Math.abs(factor))} * sum[V](base.embed.w, at: [${ids.join(", ")}])`;
    })
    .join("");
}
