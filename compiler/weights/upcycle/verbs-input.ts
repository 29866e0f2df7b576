/** The verb that runs a source: `input(src.blocks[l].mlp, text: "a prompt")` is what that part is given, an array with an axis T of tokens. */
import type { CallExpr, Expr } from "../../../grammar/ast.ts";
import { textOf } from "../../../grammar/span.ts";
import { evaluate, report } from "../../language/interpret/context.ts";
import type { Value } from "../../language/interpret/value.ts";
import { type Each, EACH, activationOf } from "./activation.ts";
import { sizesGiven, vocabularyOf } from "./observe.ts";
import type { Prompt } from "./recipe.ts";
import { resolveSource, sourcePath, type UpcycleScope } from "./source.ts";
import { namedOf, positionalOf, refuse, type Verb } from "./verb.ts";
import { contiguousView } from "./view.ts";

export const INPUT_VERBS: Readonly<Record<string, Verb>> = {
  /** `input(src.blocks[l].mlp, ids: [[5, 77], [8]])`: [T, ...], T the tokens of all prompts. */
  input: (call, where) => {
    const odd = call.args.find(({ name }) => name !== null && !ARGUMENTS.includes(name.text));
    if (odd !== undefined) return refuse(call, where, `\`input\` has no argument \`${odd.name!.text}\``, USAGE);
    const place = findPlace(call, where);
    const prompts = place === null ? null : readPrompts(call, where, place);
    const each = prompts === null ? null : readEach(call, where);
    if (place === null || prompts === null || each === null) return null;
    const width = place.sizes.reduce((a, b) => a * b, 1);
    const activation = activationOf(place.source, place.part, width, prompts, each);
    const sizes = [activation.rows.length, ...place.sizes];
    return ({ axes, path }) => {
      if (sizes.length === axes.length && axes.every(({ size }, i) => size === null || size === sizes[i]))
        return { sizes, terms: [{ kind: "activation", weight: 1, activation, view: contiguousView(0, sizes) }] };
      const wanted = axes.map((a) => a.size ?? a.name).join(", ");
      report(
        where.env,
        "upcycle/shape",
        `\`${path}\` is asked for as [${wanted}], and what \`${place.part}\` is given is [${sizes.join(", ")}]`,
        call.span,
        `${sizes[0]} tokens here`,
        "add the tokens up: `mean[T](input(...))`",
      );
      return null;
    };
  },
};

interface Place {
  readonly source: number;
  readonly part: string;
  readonly sizes: readonly number[];
}

function findPlace(call: CallExpr, where: UpcycleScope): Place | null {
  const [expr, ...more] = positionalOf(call);
  if (expr === undefined || more.length > 0)
    return refuse(call, where, "`input` takes one part of a source, and prompts", USAGE);
  const source = sourcePath(expr, where);
  const found = source === null ? [] : resolveSource(source, where);
  const [only] = found;
  if (source === null || only === undefined) {
    // A wrong path has been told; a part may also be absent.
    if (where.env.ctx.bag.hasErrors) return null;
    return refuse(call, where, "this is no part of a source", USAGE);
  }
  const told = textOf(expr.span);
  const { name } = where.sources[source.model]!;
  if (found.length > 1) return noInput(expr, where, `\`${told}\` is several parts at once`);
  if (only.kind === "parameter")
    return noInput(expr, where, `\`${told}\` is a parameter, and only layers are given something`);
  const sizes = sizesGiven(where.sources[source.model]!, only.path);
  return sizes === null
    ? noInput(expr, where, `\`${told}\` is not given a row of numbers for every token of a \`${name}\`, once`)
    : { source: source.model, part: only.path, sizes };
}

const ARGUMENTS: readonly string[] = ["ids", "text", "each"];
const USAGE = "write `input(src.blocks[l].mlp, text: [...])`, or `ids: [...]`";

function noInput({ span }: Expr, { env }: UpcycleScope, message: string): null {
  const help = "name the layer whose input is meant, such as `src.blocks[l].mlp`";
  report(env, "upcycle/no-input", message, span, "nothing to take here", help);
  return null;
}

function readEach(call: CallExpr, where: UpcycleScope): Each | null {
  const given = namedOf(call, "each");
  if (given === undefined) return "token";
  const value = evaluate(where.env, given);
  if (value.kind === "string" && Object.hasOwn(EACH, value.value)) return value.value as Each;
  return refuse(
    call,
    where,
    "`each` says what there is of every prompt",
    `write one of ${Object.keys(EACH)
      .map((name) => `"${name}"`)
      .join(", ")}`,
  );
}

function readPrompts(call: CallExpr, where: UpcycleScope, place: Place): readonly Prompt[] | null {
  const [ids, text] = [namedOf(call, "ids"), namedOf(call, "text")];
  const expr = ids ?? text;
  if (expr === undefined || (ids !== undefined && text !== undefined))
    return refuse(call, where, "prompts are given as `text` or as `ids`", USAGE);
  const value = evaluate(where.env, expr);
  if (value.kind === "error") return null;
  const made = text === undefined ? idsOf(value) : textsOf(value);
  if (made === null)
    return badPrompt(
      expr,
      where,
      text === undefined
        ? "ids are a list of numbers, or a list of such lists"
        : "a prompt is text, or a list of texts",
      "not here",
    );
  const vocabulary = vocabularyOf(where.sources[place.source]!, place.part);
  const prompts = made.map((prompt): Prompt => {
    const tokens = typeof prompt === "string" ? where.prompts.tokenize(place.source, prompt) : prompt;
    const wrapped = where.prompts.wraps ? tokens.map((id) => id % vocabulary) : tokens;
    return where.prompt({ ids: wrapped, text: typeof prompt === "string" ? prompt : null });
  });
  return checkPrompts(prompts, vocabulary, expr, where, place.source) ? prompts : null;
}

function checkPrompts(
  prompts: readonly Prompt[],
  vocabulary: number,
  expr: Expr,
  where: UpcycleScope,
  source: number,
): boolean {
  if (prompts.length === 0 || prompts.some(({ ids }) => ids.length === 0)) {
    badPrompt(expr, where, "a prompt has at least one token", prompts.length === 0 ? "no prompt" : "one is empty");
    return false;
  }
  const ids = prompts.flatMap((p) => p.ids);
  const odd = ids.find((id) => !Number.isInteger(id) || id < 0);
  const beyond = ids.find((id) => id >= vocabulary);
  if (odd !== undefined || beyond !== undefined) {
    const why = odd === undefined ? `the vocabulary has ${vocabulary}` : "ids are whole numbers from 0 on";
    badPrompt(expr, where, `${odd ?? beyond} is not a token: ${why}`, "in this prompt");
    return false;
  }
  const longest = where.prompts.longest(source);
  const long = longest === null ? undefined : prompts.find(({ ids }) => ids.length > longest);
  if (long !== undefined) {
    badPrompt(
      expr,
      where,
      `${long.ids.length} tokens are more than the ${longest} that the source was made for`,
      "in one prompt",
    );
    return false;
  }
  return true;
}

function badPrompt({ span }: Expr, { env }: UpcycleScope, message: string, text: string): null {
  report(env, "upcycle/prompt", message, span, text, 'write `text: ["a text", ...]`, or `ids: [[5, 77], ...]`');
  return null;
}

/** Numbers, or lists of numbers, as prompts. */
function idsOf(value: Value): readonly (readonly number[])[] | null {
  if (value.kind !== "list") return null;
  const isNested = value.items.some((item) => item.kind === "list");
  const lists = isNested || value.items.length === 0 ? value.items : [value];
  const prompts = lists.map((list) =>
    list.kind === "list"
      ? list.items.map((v) => (v.kind === "number" ? v.value : v.kind === "axis" ? (v.size.value ?? NaN) : NaN))
      : [NaN],
  );
  return prompts.some((ids) => ids.some(Number.isNaN)) ? null : prompts;
}

function textsOf(value: Value): readonly string[] | null {
  const items = value.kind === "list" ? value.items : [value];
  const texts = items.flatMap((v) => (v.kind === "string" ? [v.value] : []));
  return texts.length === items.length ? texts : null;
}
