/**
 * The tokenizer that a Hugging Face directory carries, as numbers in and out. The work is done by
 * a library (`tokenizer-library.ts`); this adds the files, from whatever folder has them, the ids of the special tokens, and decoding one token at a time.
 */
import { failure } from "../../grammar/diagnostic.ts";
import { anyText, checkOption, checkOptions, flag, needed, type Rules, whole, wholeIds } from "../../grammar/option.ts";
import { DEFAULT_TEMPLATE, readTemplates } from "./chat-template.ts";
import { type Folder, readJsonObject } from "../checkpoint/folder.ts";
import type { LimitTime } from "./limit.ts";
import { findDocumentStart, findStart, placeStart } from "./text-start.ts";
import { openLibrary, type TokenizerLibrary } from "./tokenizer-library.ts";

export interface Tokenizer {
  /** How many ids there are: one more than the greatest. */
  readonly vocabularySize: number;
  /** The ids that it puts in front of a text, by its own rules: for some models a BOS, for others nothing. */
  readonly start: readonly number[];
  /** The ids that end a generation; empty where no file names any. */
  readonly eosIds: readonly number[];
  /** The chat template (Jinja) that a chat takes unless it asks for another, null where there is none. */
  readonly chatTemplate: string | null;
  /** All chat templates by name, the `default` among them where there is one. */
  readonly chatTemplates: ReadonlyMap<string, string>;
  /** The ids of a piece of text, with nothing in front. */
  encode(text: string): number[];
  /** The ids of a whole text, such as a prompt: behind `start`, which is there once, also where the text writes it itself. */
  encodeText(text: string): readonly number[];
  /** The ids of one of several documents: likewise, but a tokenizer that says nothing of what stands in front gives them its BOS, if it names one. */
  encodeDocument(text: string): readonly number[];
  /** `skipSpecialTokens` (default false) leaves `<s>` and its like out. */
  decode(ids: ArrayLike<number>, options?: DecodeOptions): string;
  /** A decoder for one stream of ids, special tokens left out. */
  stream(): StreamDecoder;
}

export interface DecodeOptions {
  readonly skipSpecialTokens?: boolean;
}

const DECODE_RULES: Rules<DecodeOptions> = { skipSpecialTokens: flag };

export interface StreamDecoder {
  /** The text that this id completes: empty while a character still lacks bytes. */
  push(id: number): string;
  /** What is left when the stream ends: incomplete characters as U+FFFD. */
  end(): string;
}

/**
 * Reads `tokenizer.json`, and where present `tokenizer_config.json`, `special_tokens_map.json`, `generation_config.json`,
 * `config.json` and chat templates. `limit` ends steps that do not end by themselves, where that can be done.
 * Throws `checkpoint/no-tokenizer`, `checkpoint/bad-tokenizer`, `checkpoint/bad-json`; what it gives throws `checkpoint/slow-tokenizer` and
 * `checkpoint/bad-tokenizer` for texts that its steps cannot take.
 */
export async function readTokenizer(folder: Folder, limit: LimitTime): Promise<Tokenizer> {
  const [definition, settings = null, named, generation, config] = await Promise.all(
    ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "generation_config.json", "config.json"].map(
      (name) => readJsonObject(folder, name),
    ),
  );
  if (!definition) {
    throw failure("checkpoint/no-tokenizer", `\`${folder.path}\` has no \`tokenizer.json\``, {
      help: "copy it from the model's page, or save the tokenizer again with transformers' `save_pretrained`",
    });
  }
  // The library closes gaps before punctuation unless told not to; current models want their text as it was.
  const inner = openLibrary(
    folder.pathOf("tokenizer.json"),
    definition,
    {
      ...settings,
      clean_up_tokenization_spaces: settings?.["clean_up_tokenization_spaces"] === true,
      // Those that are special say so in tokenizer.json; this list is written in several ways.
      additional_special_tokens: [],
    },
    limit,
  );
  const { special, hasToken: known, encode } = inner;
  const encodeFor = (call: string, text: string): number[] => {
    checkOption(call, "text", text, needed(anyText));
    return encode(text);
  };
  const decode: Tokenizer["decode"] = (ids, { skipSpecialTokens = false } = {}) => {
    // A model's vocabulary is often padded beyond its tokenizer's: such ids have no text. The library refuses an empty list.
    const readable = Array.from(ids).filter((id) => known(id) && !(skipSpecialTokens && special.has(id)));
    return readable.length === 0 ? "" : inner.decode(readable);
  };
  // A model of several senses says such things in its part about text.
  const text = config?.["text_config"] as Json;
  const configs = [generation, config, text];
  const bos = findBos(inner, [settings, named], configs);
  const start = findStart(inner, settings, bos);
  const documentStart = findDocumentStart(start, settings, bos);
  const chatTemplates = await readTemplates(folder, settings);
  return {
    vocabularySize: inner.size,
    start,
    eosIds: findEos(inner, settings, configs),
    chatTemplate: chatTemplates.get(DEFAULT_TEMPLATE) ?? null,
    chatTemplates,
    encode: (text) => encodeFor("encode", text),
    encodeText: (text) => placeStart(start, encodeFor("encodeText", text)),
    encodeDocument: (text) => placeStart(documentStart, encodeFor("encodeDocument", text)),
    decode: (ids, options = {}) => {
      checkOption("decode", "ids", ids, needed(wholeIds));
      checkOptions("decode", options, DECODE_RULES);
      return decode(ids, options);
    },
    stream: () => createStreamDecoder(decode, (id) => known(id) && !special.has(id)),
  };
}

type Json = Record<string, unknown> | null | undefined;

/** The tokenizer's own word comes first: an explicit null there says that it has none, whatever the model says. */
function findBos(inner: TokenizerLibrary, own: readonly Json[], configs: readonly Json[]): number | null {
  const named = own.map((settings) => settings?.["bos_token"]).find((token) => token !== undefined);
  if (named !== undefined) return tokenId(inner, named);
  const stated = configs
    .map((config) => config?.["bos_token_id"])
    .find((id) => Number.isInteger(id) && (id as number) >= 0);
  return (stated as number | undefined) ?? null;
}

/** The generation settings come first: a chat model ends its turn with more tokens than its tokenizer names. */
function findEos(inner: TokenizerLibrary, settings: Json, configs: readonly Json[]): readonly number[] {
  const stated = configs.map((config) => [config?.["eos_token_id"] ?? []].flat()).find((ids) => ids.length > 0);
  // A number below 0 is how some write that there is none.
  if (stated !== undefined) return stated.filter((id) => Number.isInteger(id) && (id as number) >= 0) as number[];
  const named = tokenId(inner, settings?.["eos_token"]);
  return named === null ? [] : [named];
}

/** Special tokens are written as their text, or as an object with the text under `content`. */
function tokenId(inner: TokenizerLibrary, token: unknown): number | null {
  const text = typeof token === "object" && token !== null ? (token as { content?: unknown }).content : token;
  return typeof text === "string" ? inner.tokenToId(text) : null;
}

/**
 * Text of a token depends on its neighbours (a character may span several, a leading space may be dropped), so each new
 * id is decoded together with the ids of the last text given out, and only what exceeds that text is new.
 */
function createStreamDecoder(decode: (ids: number[]) => string, isText: (id: number) => boolean): StreamDecoder {
  let shown: number[] = [];
  let pending: number[] = [];
  const take = (complete: boolean): string => {
    const before = decode(shown);
    const text = decode([...shown, ...pending]);
    if (text.length <= before.length || (!complete && text.endsWith("\uFFFD"))) return "";
    shown = pending;
    pending = [];
    return text.slice(before.length);
  };
  return {
    push: (id) => {
      checkOption("push", "id", id, needed(whole(0)));
      if (!isText(id)) return "";
      pending.push(id);
      return take(false);
    },
    end: () => take(true),
  };
}
