/** The data that a command trains on, as its command line says: sources with names and weights, how they become sequences, what is held out. */
import { basename } from "node:path";
import { type Command, InvalidArgumentError } from "commander";
import { failure } from "../grammar/index.ts";
import type { FimTokens } from "../runtime/training/corpus/fim.ts";
import type { DataOptions } from "../runtime/training/corpus/open-data.ts";
import type { DataSource, SourceKind } from "../runtime/training/corpus/source.ts";
import type { HeldOut } from "../runtime/training/data/held-out.ts";
import type { PackMode } from "../runtime/training/data/pack.ts";
import { parseNumber } from "./options.ts";

export interface DataFlags {
  readonly data: readonly GivenSource[];
  readonly pack?: PackMode;
  readonly heldOut?: HeldOut;
  readonly fim?: number;
  readonly spm?: number;
  readonly fimTokens?: readonly string[];
}

type GivenSource = Omit<DataSource, "fim">;

export function addDataOptions(command: Command): Command {
  return command
    .requiredOption(
      "--data <source...>",
      'what to train on, each as [WEIGHT*][NAME=]PATH: a text (U+001E separates documents), a folder or "pattern/**/*.py" of texts, ' +
        "a .jsonl file (#FIELD behind it names the field with the text) or a .bin of token ids; without weights every token counts alike",
      (text: string, before: readonly GivenSource[] = []) => [...before, parseSource(text)],
    )
    .option(
      "--pack <mode>",
      "joined: documents one behind the other, cut where a sequence ends; documents: one document a sequence, padded (default: joined)",
      parsePack,
    )
    .option(
      "--held-out <amount>",
      "what to measure by and not to train on, from the end of each source: tokens, or a share such as 0.05 or 5% (default: 5%, 262144 tokens at most)",
      parseHeldOut,
    )
    .option(
      "--fim <rate>",
      "share of the documents of texts to train on with their middle last, 0 to 1",
      parseNumber(1),
    )
    .option("--spm <share>", "share of those whose suffix comes first (default: 0.5)", parseNumber(1))
    .option(
      "--fim-tokens <token...>",
      "the three tokens for that: of prefix, suffix and middle (default: the tokenizer's)",
    );
}

/** Throws `cli/usage`. */
export function readDataFlags(flags: DataFlags): Pick<DataOptions, "sources" | "pack" | "heldOut"> {
  const { data, pack, heldOut, fim, spm = 0.5, fimTokens } = flags;
  if (fim === undefined && (flags.spm !== undefined || fimTokens !== undefined))
    throw failure("cli/usage", `\`${fimTokens === undefined ? "--spm" : "--fim-tokens"}\` needs \`--fim\``, {
      help: "say with --fim how many documents are to have their middle last, such as --fim 0.5",
    });
  if (fimTokens !== undefined && fimTokens.length !== 3)
    throw failure("cli/usage", `\`--fim-tokens\` has ${fimTokens.length} tokens, and takes three`, {
      help: "give those of prefix, suffix and middle, in this order",
    });
  const rewritten = { rate: fim ?? 0, spm, tokens: (fimTokens as FimTokens | undefined) ?? null };
  // Ids have no text to cut; where there is nothing else, whoever opens them says so.
  const isText = ({ kind }: GivenSource): boolean =>
    kind !== "tokens" || data.every((other) => other.kind === "tokens");
  return {
    sources: data.map((source) => ({ ...source, fim: fim !== undefined && isText(source) ? rewritten : null })),
    ...(pack === undefined ? {} : { pack }),
    ...(heldOut === undefined ? {} : { heldOut }),
  };
}

const KINDS: Readonly<Record<string, SourceKind>> = { bin: "tokens", jsonl: "jsonl", ndjson: "jsonl" };

/** `9*code=src/**\/*.py`, `law.jsonl#content`. A path that looks otherwise is written with `./` in front. */
export function parseSource(text: string): GivenSource {
  const [, weight, name, rest = ""] = /^(?:(\d+(?:\.\d+)?|\.\d+)\*)?(?:([A-Za-z_][\w.-]*)=)?(.*)$/s.exec(text)!;
  const [, file, field] = /^(.*\.(?:jsonl|ndjson))#(.+)$/s.exec(rest) ?? [undefined, rest, undefined];
  if (file === undefined || file === "") throw new InvalidArgumentError("It names no file.");
  return {
    name: name ?? nameOf(file),
    kind: KINDS[/\.(\w+)$/.exec(file)?.[1] ?? ""] ?? "text",
    paths: [file],
    weight: weight === undefined ? null : Number(weight),
    field: field ?? "text",
  };
}

/** A file's name without its ending; of a pattern, the last folder before it. */
function nameOf(path: string): string {
  const fixed = path.split("/").filter((part) => part !== "" && part !== "." && !/[*?[{]/.test(part));
  const last = fixed.at(-1) ?? path;
  return basename(last).replace(/(?<=.)\.\w+$/, "");
}

function parsePack(text: string): PackMode {
  if (text === "joined" || text === "documents") return text;
  throw new InvalidArgumentError("It must be joined or documents.");
}

/** `20000`, `0.05`, `5%`. */
export function parseHeldOut(text: string): HeldOut {
  if (/^\d+$/.test(text)) return { tokens: Number(text) };
  const share = text.endsWith("%") ? Number(text.slice(0, -1)) / 100 : Number(text);
  if (!/^[\d.]+%?$/.test(text) || !(share >= 0 && share < 1))
    throw new InvalidArgumentError("It must be a number of tokens, or a share below 1 such as 0.05 or 5%.");
  return { share, most: Number.MAX_SAFE_INTEGER };
}
