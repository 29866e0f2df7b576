/**
 * Whether tokenizers are the same in what they do: the same ids for any text, whatever their files look like. Layout, version,
 * padding, truncation, decoding and merges as pairs or as text are no difference; the first that is one is named.
 */
import { diskFolder } from "../load/disk-folder.ts";
import { type Diagnostic, failure } from "../../grammar/diagnostic.ts";
import { readJsonObject } from "../checkpoint/folder.ts";
import { loadTokenizer } from "../load/load-tokenizer.ts";

type JsonObject = Readonly<Record<string, unknown>>;

interface Source {
  readonly folder: string;
  readonly json: JsonObject;
}

/**
 * Throws `upcycle/tokenizers-differ` unless all folders that have a tokenizer have the same. What is given back says where texts begin
 * otherwise: the result takes the first folder's tokenizer.
 */
export async function checkTokenizers(folders: readonly string[]): Promise<readonly Diagnostic[]> {
  const read = await Promise.all(
    folders.map(async (folder) => ({ folder, json: await readJsonObject(diskFolder(folder), "tokenizer.json") })),
  );
  const [first, ...others] = read.filter((source): source is Source => source.json !== null);
  const notes: Diagnostic[] = [];
  for (const other of others) {
    const difference = findDifference(first!.json, other.json);
    if (difference !== null)
      throw failure(
        "upcycle/tokenizers-differ",
        `the tokenizers of ${first!.folder} and ${other.folder} are not the same`,
        {
          notes: [difference, "a token would mean one thing to some of the experts and another to the rest"],
          help: "upcycle models that were trained from one seed, with its tokenizer",
        },
      );
    notes.push(...(await compareStarts(first!.folder, other.folder)));
  }
  return notes;
}

async function compareStarts(first: string, other: string): Promise<readonly Diagnostic[]> {
  const [a, b] = await Promise.all(
    [first, other].map(async (folder) => (await loadTokenizer(folder)).start.join(", ")),
  );
  if (a === b) return [];
  const say = (ids: string | undefined): string => (ids === "" ? "nothing" : `id ${ids}`);
  return [
    {
      code: "upcycle/tokenizers-differ",
      severity: "warning",
      message: `texts begin with ${say(a)} for ${first}, and with ${say(b)} for ${other}: the result does as the first`,
      labels: [],
      notes: ["`add_bos_token` of `tokenizer_config.json`, or the post-processor of `tokenizer.json`, says so"],
      help: "make them alike if that is a mistake",
    },
  ];
}

/** What makes two tokenizers give other ids, in a sentence; null where nothing does. */
export function findDifference(a: JsonObject, b: JsonObject): string | null {
  const [m, n] = [asObject(a["model"]), asObject(b["model"])];
  return (
    compareValues("the kind", kindOf(m), kindOf(n)) ??
    compareTokens(tokensOf(a), tokensOf(b)) ??
    compareMerges(mergesOf(m), mergesOf(n)) ??
    compareValues("`model`", settingsOf(m), settingsOf(n)) ??
    compareValues("`added_tokens`", addedOf(a), addedOf(b)) ??
    compareValues("`normalizer`", stepOf(a["normalizer"]), stepOf(b["normalizer"])) ??
    compareValues("`pre_tokenizer`", stepOf(a["pre_tokenizer"]), stepOf(b["pre_tokenizer"]))
  );
}

const asObject = (json: unknown): JsonObject =>
  typeof json === "object" && json !== null && !Array.isArray(json) ? (json as JsonObject) : {};

const asList = (json: unknown): readonly unknown[] => (Array.isArray(json) ? json : []);

/** Older files leave the kind to be seen. */
function kindOf(model: JsonObject): unknown {
  if (typeof model["type"] === "string") return model["type"];
  return model["merges"] !== undefined ? "BPE" : Array.isArray(model["vocab"]) ? "Unigram" : "WordPiece";
}

/** Tokens by id, those that were added among them; of a model of scores the score as well. */
function tokensOf(tokenizer: JsonObject): ReadonlyMap<number, string> {
  const { vocab } = asObject(tokenizer["model"]);
  const tokens = new Map<number, string>(
    Array.isArray(vocab)
      ? vocab.map((entry, id): [number, string] => [id, JSON.stringify(entry)])
      : Object.entries(asObject(vocab)).map(([token, id]): [number, string] => [Number(id), JSON.stringify(token)]),
  );
  for (const token of asList(tokenizer["added_tokens"]).map(asObject))
    if (!Array.isArray(vocab) || !tokens.has(Number(token["id"])))
      tokens.set(Number(token["id"]), JSON.stringify(token["content"]));
  return tokens;
}

function compareTokens(a: ReadonlyMap<number, string>, b: ReadonlyMap<number, string>): string | null {
  const differing = [...new Set([...a.keys(), ...b.keys()])].filter((id) => a.get(id) !== b.get(id));
  if (differing.length === 0) return null;
  const id = differing.reduce((least, one) => Math.min(least, one));
  const say = (token: string | undefined): string => (token === undefined ? "no token" : `\`${token}\``);
  return `id ${id} is ${say(a.get(id))} in the first and ${say(b.get(id))} in the second`;
}

/** Pairs of tokens, which older files join with a space. */
function mergesOf(model: JsonObject): readonly string[] {
  return asList(model["merges"]).map((merge) => (Array.isArray(merge) ? merge.join(" ") : String(merge)));
}

function compareMerges(a: readonly string[], b: readonly string[]): string | null {
  const at = Array.from({ length: Math.max(a.length, b.length) }, (_, i) => i).find((i) => a[i] !== b[i]);
  if (at === undefined) return null;
  const say = (merge: string | undefined): string => (merge === undefined ? "not there" : `\`${merge}\``);
  return `merge ${at} is ${say(a[at])} in the first and ${say(b[at])} in the second`;
}

/** What a model does beside its tokens and merges; what a file leaves out is what this says. */
const MODEL_DEFAULTS: JsonObject = {
  dropout: 0,
  unk_token: null,
  unk_id: null,
  continuing_subword_prefix: "",
  end_of_word_suffix: "",
  fuse_unk: false,
  byte_fallback: false,
  ignore_merges: false,
  max_input_chars_per_word: 100,
};

function settingsOf(model: JsonObject): JsonObject {
  return Object.fromEntries(Object.entries(MODEL_DEFAULTS).map(([key, usual]) => [key, model[key] ?? usual]));
}

/** How tokens that were added are found in a text. */
function addedOf(tokenizer: JsonObject): JsonObject {
  const tokens = asList(tokenizer["added_tokens"]).map(asObject);
  return Object.fromEntries(
    tokens.map((token) => {
      const usual = { single_word: false, lstrip: false, rstrip: false, normalized: token["special"] !== true };
      return [
        String(token["content"]),
        Object.fromEntries(Object.entries(usual).map(([key, otherwise]) => [key, token[key] ?? otherwise])),
      ];
    }),
  );
}

/** What a step says that a file may leave out; `null` for what makes no other ids. */
const STEP_DEFAULTS: Readonly<Record<string, JsonObject>> = {
  ByteLevel: { add_prefix_space: true, use_regex: true, trim_offsets: null },
  Metaspace: { replacement: "▁", prepend_scheme: "always", split: true, add_prefix_space: null, str_rep: null },
  Split: { invert: false },
  Digits: { individual_digits: false },
  Punctuation: { behavior: "Isolated" },
  BertNormalizer: { clean_text: true, handle_chinese_chars: true, lowercase: true },
};

/** A step in one form: sequences flat, of one as that one, of none as nothing; what is usual written out. */
function stepOf(json: unknown): unknown {
  const steps = flatten(asObject(json));
  return steps.length <= 1 ? (steps[0] ?? null) : steps;
}

function flatten(step: JsonObject): readonly JsonObject[] {
  const { type } = step;
  if (typeof type !== "string") return [];
  if (type === "Sequence")
    return asList(step["normalizers"] ?? step["pretokenizers"]).flatMap((inner) => flatten(asObject(inner)));
  const usual = Object.hasOwn(STEP_DEFAULTS, type) ? STEP_DEFAULTS[type]! : {};
  // Metaspace said this with a truth value before there were three ways.
  const older = type === "Metaspace" && step["add_prefix_space"] === false ? { prepend_scheme: "never" } : {};
  const given = Object.entries(step).filter(([key, value]) => usual[key] !== null && value !== null);
  const written = Object.entries(usual).filter(([, value]) => value !== null);
  return [Object.fromEntries([...written, ...Object.entries(older), ...given])];
}

/** The first place at which two values differ. */
function compareValues(place: string, a: unknown, b: unknown): string | null {
  if (isNested(a) && isNested(b) && Array.isArray(a) === Array.isArray(b)) {
    const keys = [...new Set([...Object.keys(a), ...Object.keys(b)])].sort();
    for (const key of keys) {
      const found = compareValues(`\`${key}\` of ${place}`, (a as JsonObject)[key], (b as JsonObject)[key]);
      if (found !== null) return found;
    }
    return null;
  }
  if (Object.is(a, b)) return null;
  return `${place} is ${say(a)} in the first and ${say(b)} in the second`;
}

const isNested = (value: unknown): value is object => typeof value === "object" && value !== null;

const MOST_SAID = 80;

function say(value: unknown): string {
  if (value === undefined) return "not there";
  const text = JSON.stringify(value);
  return `\`${text.length > MOST_SAID ? `${text.slice(0, MOST_SAID)}…` : text}\``;
}
