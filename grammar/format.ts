/**
 * The canonical layout of a file, in the manner of gofmt: the writer decides where lines break, the formatter decides
 * everything within and before them (spaces, indentation, alignment, blank lines). It works on tokens, so comments and
 * parentheses stay, and never breaks or joins a line where that could change the meaning.
 */
import type { IToken } from "chevrotain";
import type { Diagnostic } from "./diagnostic.ts";
import { alignLines, type Line } from "./format/align.ts";
import { findRoles, type Roles } from "./format/roles.ts";
import { spaceBetween } from "./format/spacing.ts";
import { checkOption, needed, sourceFile } from "./option.ts";
import { parse, tokenize } from "./parse.ts";
import type { SourceFile } from "./span.ts";
import * as t from "./tokens.ts";

/** The formatted text; with syntax errors, the text as it was. Formatting twice changes nothing. */
export function format(file: SourceFile): { text: string; diagnostics: readonly Diagnostic[] } {
  checkOption("format", "file", file, needed(sourceFile));
  const { module, diagnostics } = parse(file);
  if (diagnostics.some(({ severity }) => severity === "error")) return { text: file.text, diagnostics };
  const { tokens, groups } = tokenize(file.text);
  const pieces = [...tokens, ...(groups["comments"] ?? []), ...(groups["docs"] ?? [])];
  pieces.sort((a, b) => a.startOffset - b.startOffset);
  const roles = findRoles(module, tokens);
  const lines = layOut(splitLines(pieces, roles), roles);
  const text = alignLines(lines)
    .map((line) => `${"  ".repeat(line.indent)}${line.text}`.trimEnd())
    .join("\n");
  return { text: text === "" ? "" : `${text}\n`, diagnostics };
}

/** Signs that line up with those of neighbouring lines. */
const SIGNS: ReadonlySet<IToken["tokenType"]> = new Set([t.Assign, t.Both, t.Arrow]);
const isComment = (piece: IToken): boolean => piece.tokenType === t.Comment || piece.tokenType === t.Doc;
const isOpen = ({ tokenType }: IToken): boolean => [t.LParen, t.LSquare, t.LCurly].includes(tokenType);
const isClose = ({ tokenType }: IToken): boolean => [t.RParen, t.RSquare, t.RCurly].includes(tokenType);

/** The pieces of each line; an empty row is a blank line. */
function splitLines(pieces: readonly IToken[], roles: Roles): IToken[][] {
  const rows: IToken[][] = [];
  const edges = findBlockEdges(pieces, roles);
  for (const [index, piece] of pieces.entries()) {
    const before = pieces[index - 1];
    if (before === undefined || startsLine(before, piece, roles, edges)) {
      if (before && piece.startLine! > before.endLine! + 1 && !isOpen(before) && !isClose(piece)) rows.push([]);
      rows.push([piece]);
    } else {
      rows.at(-1)!.push(piece);
    }
  }
  return rows;
}

/** The braces of blocks over several lines: the first ends its line, the last begins one. */
function findBlockEdges(pieces: readonly IToken[], roles: Roles): ReadonlySet<IToken> {
  const edges = new Set<IToken>();
  const open: IToken[] = [];
  for (const piece of pieces) {
    if (piece.tokenType === t.LCurly) open.push(piece);
    if (piece.tokenType !== t.RCurly) continue;
    const opener = open.pop()!;
    if (roles.blocks.has(opener.startOffset) && piece.startLine! > opener.startLine!) edges.add(opener).add(piece);
  }
  return edges;
}

function startsLine(before: IToken, piece: IToken, roles: Roles, edges: ReadonlySet<IToken>): boolean {
  if (piece.startLine! > before.endLine!) return !joinsLine(before, piece, roles);
  const atEdge = (edges.has(before) && isOpen(before)) || (edges.has(piece) && isClose(piece));
  return atEdge && !isComment(piece);
}

/** The `{` of a block stands on the line of its head, `else` and `or` on that of the `}` before them. */
function joinsLine(before: IToken, piece: IToken, roles: Roles): boolean {
  if (isComment(before)) return false;
  if (piece.tokenType === t.LCurly) return !roles.entries.has(piece.startOffset);
  return before.tokenType === t.RCurly && (piece.tokenType === t.Else || piece.tokenType === t.Or);
}

/** An open bracket: how deep the lines in it stand, and the line that closes it. */
interface Open {
  readonly inner: number;
  readonly outer: number;
  readonly opener: IToken;
}

/** Gives each line its indentation and the spaces between its pieces. */
function layOut(rows: readonly IToken[][], roles: Roles): Line[] {
  const open: Open[] = [];
  let before: IToken | null = null;
  return rows.map((row) => {
    const first = row[0];
    if (first === undefined) return { indent: 0, text: "", operatorAt: null, commentAt: null, closed: true };
    const base = isClose(first) ? outerOf(row, open) : (open.at(-1)?.inner ?? 0);
    const continued = !isComment(first) && continues(first, before, open.at(-1)?.opener ?? null, roles);
    const line = writeLine(row, continued ? base + 1 : base, base, open, roles);
    before = row.findLast((piece) => !isComment(piece)) ?? before;
    return line;
  });
}

/** A line of closing brackets stands where the line stands that opened the outermost of them. */
function outerOf(row: readonly IToken[], open: readonly Open[]): number {
  const closing = row.findIndex((piece) => !isClose(piece));
  return open.at(-(closing === -1 ? row.length : closing))?.outer ?? 0;
}

/** Writes one line, and keeps account of the brackets. `base` is the indentation of the entry that the line belongs to. */
function writeLine(row: readonly IToken[], indent: number, base: number, open: Open[], roles: Roles): Line {
  const depth = open.length;
  const lead = row[0]!.startOffset;
  let [text, entries] = ["", 0];
  let operatorAt: number | null = null;
  let commentAt: number | null = null;
  for (const [index, piece] of row.entries()) {
    const inSquare = open.at(-1)?.opener.tokenType === t.LSquare;
    if (index > 0) text += spaceBetween(row[index - 1]!, piece, { roles, inSquare });
    if (open.length === depth) {
      if (roles.entries.has(piece.startOffset)) entries++;
      if (roles.aligned.has(lead) && SIGNS.has(piece.tokenType)) operatorAt ??= text.length;
    }
    if (isComment(piece) && index > 0) commentAt = text.length;
    text += piece.image.trimEnd();
    if (isClose(piece)) open.pop();
    // A block in a continued head belongs to the entry, not to the line it is opened on.
    const outer = roles.blocks.has(piece.startOffset) ? base : indent;
    if (isOpen(piece)) open.push({ inner: outer + 1, outer, opener: piece });
  }
  // Two entries on one line share no column with their neighbours.
  return { indent, text, operatorAt: entries > 1 ? null : operatorAt, commentAt, closed: open.length <= depth };
}

/** Whether a line goes on with what the line before began. */
function continues(first: IToken, before: IToken | null, opener: IToken | null, roles: Roles): boolean {
  if (before === null || isClose(first) || roles.entries.has(first.startOffset)) return false;
  if (first.tokenType === t.LCurly || (before.tokenType === t.RCurly && first.tokenType !== t.Dot)) return false;
  // Within brackets the items are indented already.
  return opener === null || roles.blocks.has(opener.startOffset);
}
