/** How routers begin: mergekit's `gate_mode`. */
import { failure } from "../../grammar/diagnostic.ts";
import type { MergekitConfig } from "./config.ts";

/** What each row is drawn from. */
const DRAWN: Readonly<Record<string, string>> = {
  random: "normal(std: 1.0, seed: seed)",
  uniform_random: "uniform(bound: pow(D, -0.5), seed: seed)",
};

/** Taken where a configuration says nothing. */
const USUAL = "hidden";

/** Rules for the router, and for the gate of a shared expert. Throws `import/unsupported`. */
export function routerRules({ gate, base, shared }: MergekitConfig): readonly string[] {
  const mode = gate?.value ?? USUAL;
  const drawn = Object.hasOwn(DRAWN, mode) ? DRAWN[mode]! : null;
  if (drawn === null)
    throw failure("import/unsupported", `routers cannot be made by \`gate_mode: ${mode}\``, {
      labels: [
        { span: (gate ?? base).span, text: gate === null ? `\`gate_mode\` is missing, which means ${USUAL}` : "here" },
      ],
      notes: [
        "rows made of hidden states of prompts are those of the base model, before the norm that the router reads after",
      ],
      help: `write \`gate_mode: random\` and train the router, or give rows of your own with \`--set\`; known are ${Object.keys(DRAWN).join(", ")}`,
    });
  return [`pick.score.w = ${drawn}`, ...shared.map(() => `gate.w = ${drawn}`)];
}
