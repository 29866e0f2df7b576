/**
 * What `tokenizer.json` must be before the tokenizer library gets it. The library trusts it: an id beyond all others makes it fill a list
 * up to there, a length of 0 never ends, a misspelt merge is none. So ids, lengths and texts are looked at first, by the name of their
 * key, which has one meaning wherever it stands.
 */
import { failure } from "../../grammar/diagnostic.ts";
import {
  type Check,
  count,
  describeProblem,
  fields,
  firstProblem,
  isRecord,
  isText,
  type Json,
  listOf,
  name,
  optional,
  positive,
  record,
  test,
  text,
} from "../files/json-shape.ts";

/** More than any vocabulary that was published, 16 times over. The library and its user keep a list of so many. */
export const MOST_TOKENS = 2 ** 22;

const isId = (value: Json): value is number =>
  Number.isInteger(value) && (value as number) >= 0 && (value as number) < MOST_TOKENS;
const id = test(`a whole number from 0, below ${MOST_TOKENS}`, isId);

/** A normaliser, a pre-tokeniser, a post-processor, a decoder, or the steps that make one. */
const step: Check = (value, path) => {
  if (value === null || value === undefined) return null;
  return fields({ type: name })(value, path) ?? fields(OF_STEPS)(value, path);
};
const steps = optional(listOf((value, path) => record(value, path) ?? step(value, path)));

const pattern: Check = (value, path) => {
  if (!isRecord(value)) return { path, wanted: 'an object such as {"Regex": "..."}', value };
  if (value["Regex"] !== undefined) return text(value["Regex"], `${path}.Regex`);
  return name(value["String"], `${path}.String`);
};

const special: Check = (value, path) =>
  Array.isArray(value) && value.length === 2 && isText(value[0]) && isId(value[1])
    ? null
    : { path, wanted: "a token and its id", value };

const piece: Check = (value, path) =>
  isRecord(value) && value["SpecialToken"] !== undefined
    ? fields({ id: text })(value["SpecialToken"], `${path}.SpecialToken`)
    : fields({ Sequence: fields({ id: test('"A" or "B"', (which) => which === "A" || which === "B") }) })(value, path);

const OF_STEPS: Readonly<Record<string, Check>> = {
  normalizers: steps,
  pretokenizers: steps,
  processors: steps,
  decoders: steps,
  pattern: optional(pattern),
  content: optional(text),
  prepend: optional(text),
  length: optional(positive),
  start: optional(count),
  stop: optional(count),
  replacement: optional(name),
  str_rep: optional(name),
  prefix: optional(text),
  suffix: optional(text),
  pad_token: optional(text),
  word_delimiter_token: optional(text),
  behavior: optional(text),
  single: optional(listOf(piece)),
  pair: optional(listOf(piece)),
  sep: optional(special),
  cls: optional(special),
};

/** What steps of some types cannot be without. */
const NEEDED: Readonly<Record<string, readonly string[]>> = {
  Replace: ["pattern"],
  Split: ["pattern"],
  Prepend: ["prepend"],
  FixedLength: ["length"],
  TemplateProcessing: ["single"],
  BertProcessing: ["sep", "cls"],
  RobertaProcessing: ["sep", "cls"],
};

const whole: Check = (value, path) => {
  const problem = step(value, path);
  if (problem !== null || !isRecord(value)) return problem;
  const type = String(value["type"]);
  const missing = (Object.hasOwn(NEEDED, type) ? NEEDED[type]! : []).find(
    (key) => value[key] === undefined || value[key] === null,
  );
  if (missing !== undefined) return { path: `${path}.${missing}`, wanted: "given", value: value[missing] };
  return firstProblem(["normalizers", "pretokenizers", "processors", "decoders"], (key) =>
    firstProblem(((value[key] ?? []) as readonly Json[]).entries(), ([i, item]) => whole(item, `${path}.${key}[${i}]`)),
  );
};

const added = listOf((value, path) => fields({ content: name, id })(value, path));

const merge = test("two tokens", (value) =>
  (isText(value) && value.includes(" ")) || (Array.isArray(value) && value.length === 2 && value.every(isText)));

const scored: Check = (value, path) =>
  Array.isArray(value) && value.length === 2 && isText(value[0]) && Number.isFinite(value[1])
    ? null
    : { path, wanted: "a token and its score", value };

/** A list of tokens with their scores, or ids by token. */
const vocabulary: Check = (value, path) => {
  if (Array.isArray(value))
    return value.length === 0 || value.length > MOST_TOKENS
      ? { path, wanted: `a list of 1 to ${MOST_TOKENS} tokens`, value: value.length }
      : listOf(scored)(value, path);
  if (!isRecord(value)) return record(value, path);
  const wrong = Object.keys(value).find((token) => !isId(value[token]));
  return wrong === undefined ? null : id(value[wrong], `${path}[${JSON.stringify(wrong)}]`);
};

const model: Check = (value, path) => {
  const problem = fields(OF_MODEL)(value, path);
  if (problem !== null) return problem;
  const { type, vocab, merges, unk_id: unknown } = value as Readonly<Record<string, Json>>;
  const isScored = Array.isArray(vocab);
  if (isText(type) && type !== "" && (type === "Unigram") !== isScored)
    return { path: `${path}.vocab`, wanted: isScored ? "ids by token" : "a list of tokens and scores", value: vocab };
  if (isScored && isId(unknown) && unknown >= vocab.length)
    return { path: `${path}.unk_id`, wanted: `the id of one of the ${vocab.length} tokens`, value: unknown };
  return type === "BPE" || merges !== undefined ? listOf(merge)(merges, `${path}.merges`) : null;
};

const OF_MODEL: Readonly<Record<string, Check>> = {
  type: optional(text),
  vocab: vocabulary,
  unk_token: optional(text),
  unk_id: optional(id),
  continuing_subword_prefix: optional(text),
  continuing_subword_suffix: optional(text),
  end_of_word_suffix: optional(text),
  max_input_chars_per_word: optional(count),
};

const tokenizer = fields({
  added_tokens: optional(added),
  normalizer: whole,
  pre_tokenizer: whole,
  post_processor: whole,
  decoder: whole,
  model,
});

/** Throws `checkpoint/bad-tokenizer` with the place of the first thing in `tokenizer.json` that is not what it should be. */
export function checkTokenizer(path: string, definition: object): void {
  const problem = tokenizer(definition, "");
  if (problem === null) return;
  const { message, notes } = describeProblem(problem, path);
  throw failure("checkpoint/bad-tokenizer", message, {
    notes,
    help: "copy `tokenizer.json` from the model's page again, or save it with a current `transformers`",
  });
}
