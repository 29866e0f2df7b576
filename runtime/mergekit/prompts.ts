/** Prompts of experts: that there are some that tell them apart, their tokens, their text as `.moe` has it. */
import { failure } from "../../grammar/diagnostic.ts";
import { loadTokenizer } from "../load/load-tokenizer.ts";
import { isFolder } from "../files/read.ts";
import type { MergekitConfig } from "./config.ts";

/** Ids by prompt. */
export type Tokens = ReadonlyMap<string, readonly number[]>;

/** Throws `import/missing-key` and `import/bad-value`. */
export function checkPrompts({ experts, shared }: MergekitConfig): void {
  const all = [...experts, ...shared];
  const without = all.find((e) => e.positive.length === 0);
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

/** By the base's tokenizer, each prompt behind what that puts in front of a text. Throws `import/unsupported` where the base is not here. */
export async function tokenizePrompts({ base, gate, experts, shared }: MergekitConfig): Promise<Tokens> {
  if (!isFolder(base.value))
    throw failure("import/unsupported", `\`${gate!.value}\` needs the base model's tokenizer`, {
      labels: [{ span: base.span, text: "this is no folder here" }],
      help: "fetch the model, and write its folder",
    });
  const tokenizer = await loadTokenizer(base.value);
  const made = [...experts, ...shared].flatMap(({ source, positive, negative }) =>
    [...positive, ...negative].map((text): [string, readonly number[]] => {
      const ids = tokenizer.encodeText(text);
      if (ids.length > 0) return [text, ids];
      throw failure(
        "import/bad-value",
        `the base model's tokenizer makes no token of the prompt ${JSON.stringify(text)}`,
        {
          labels: [{ span: source.span, text: "a prompt of this expert" }],
          help: "write another text, or leave the prompt out",
        },
      );
    }),
  );
  return new Map(made);
}

export const greatestId = (tokens: Tokens): number =>
  [...tokens.values()].flat().reduce((greatest, id) => Math.max(greatest, id), 0);

/** A list of strings. */
export const listText = (texts: readonly string[]): string => `[${texts.map(stringText).join(", ")}]`;

/** With the escapes that the language has; what other control characters say is left to the text. */
const stringText = (text: string): string =>
  `"${text.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n").replaceAll("\t", "\\t")}"`;
