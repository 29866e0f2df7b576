/** What the layout must know of the tree: where entries begin, and which words are keywords here. All are offsets. */
import type { IToken } from "chevrotain";
import type { MapDecl, Module, Name } from "../ast.ts";
import * as t from "../tokens.ts";
import { walk, type Node } from "../visit.ts";

export interface Roles {
  /** First tokens of declarations, members, statements, rules and fields; with the spaces that keep two on a line apart. */
  readonly entries: ReadonlyMap<number, string>;
  /** Entries whose `=` or `<->` lines up with those of their neighbours. */
  readonly aligned: ReadonlySet<number>;
  /** `loss`, `expect` and `ensures` as keywords: a parenthesis after one is not a call. */
  readonly keywords: ReadonlySet<number>;
  /** Names that are spelt like a hard keyword, `rope.default.of`. */
  readonly names: ReadonlySet<number>;
  /** Every `-` that stands before its only operand. */
  readonly signs: ReadonlySet<number>;
  /** Every `{` that begins a block of entries, rather than a list of names. */
  readonly blocks: ReadonlySet<number>;
}

const between = "  ";
const betweenMembers = "   ";

export function findRoles(module: Module, tokens: readonly IToken[]): Roles {
  const entries = new Map<number, string>();
  const aligned = new Set<number>();
  const keywords = new Set<number>();
  const names = new Set<number>();
  const signs = new Set<number>();
  const note: Note = (entry, assigns, gap = between) => {
    entries.set(entry.span.start, gap);
    if (assigns) aligned.add(entry.span.start);
  };
  for (const part of module.imports) note(part, false);
  walk(module, (node) => {
    noteEntries(node, note);
    if (node.kind === "loss" || node.kind === "expect") keywords.add(node.span.start);
    if (node.kind === "member") names.add(node.name.span.start);
    if (node.kind === "map") for (const key of keysOf(node)) names.add(key.span.start);
    if (node.kind === "unary" && node.op === "-") signs.add(node.span.start);
  });

  const ensured = module.items.flatMap((item) => (item.kind === "upcycle" ? item.ensures : []));
  for (const { span } of ensured) {
    const keyword = tokens.findLast((token) => token.startOffset < span.start && token.tokenType === t.Ensures)!;
    entries.set(keyword.startOffset, between);
    keywords.add(keyword.startOffset);
  }

  // Two parts that are no nodes: the edition, and the `config { ... }` of a map.
  for (const [index, { tokenType, startOffset }] of tokens.entries()) {
    const isConfig = tokenType === t.Config && tokens[index + 1]?.tokenType === t.LCurly;
    if (isConfig || (index === 0 && tokenType === t.Edition)) entries.set(startOffset, between);
  }
  return { entries, aligned, keywords, names, signs, blocks: findBlocks(tokens, entries, aligned) };
}

function keysOf({ config, objects, ignored }: MapDecl): readonly Name[] {
  const keys = [...config.flatMap((rule) => rule.keys), ...objects.flatMap((object) => object.names)];
  return [...keys, ...ignored.map((entry) => entry.key)].flat();
}

type Note = (entry: { span: { start: number } }, assigns: boolean, gap?: string) => void;

function noteEntries(node: Node, note: Note): void {
  switch (node.kind) {
    case "dim":
    case "fn":
    case "map":
    case "mixture":
    case "upcycle":
    case "test":
    case "config":
    case "layer":
      note(node, false);
      if (node.kind === "layer") {
        for (const member of node.members) note(member, true, betweenMembers);
        if (node.forward !== null) note(node.forward, false, betweenMembers);
      }
      if (node.kind === "config") for (const field of node.fields) note(field, false);
      if (node.kind === "map") {
        for (const rule of node.config) note(rule, true);
        for (const entry of [...node.objects, ...node.ignored]) note(entry, false);
      }
      return;
    case "let":
    case "set":
    case "assign":
    case "default":
    case "pair":
      return note(node, true);
    case "if":
      // The expression of this kind has one node on each side.
      return Array.isArray(node.then) ? note(node, false) : undefined;
    case "return":
      // `= expression` is a return without the word; the expression belongs to the line before.
      return node.span.start === node.values[0]?.span.start ? undefined : note(node, false);
    case "loss":
    case "expect":
    case "metric":
    case "update":
    case "for":
    case "scope":
    case "either":
    case "ignore":
    case "stored":
      return note(node, false);
  }
}

/** A `{` holds a list of names when it follows `import` or begins a rule; all others hold entries. */
function findBlocks(
  tokens: readonly IToken[],
  entries: ReadonlyMap<number, string>,
  aligned: ReadonlySet<number>,
): Set<number> {
  const blocks = new Set<number>();
  for (const [index, token] of tokens.entries()) {
    if (token.tokenType !== t.LCurly || aligned.has(token.startOffset)) continue;
    const before = tokens[index - 1];
    const importing = before?.tokenType === t.Import && entries.has(before.startOffset);
    if (!importing) blocks.add(token.startOffset);
  }
  return blocks;
}
