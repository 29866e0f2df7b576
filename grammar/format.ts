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
import { parse, tokenize } from "./parse.ts";
import type { SourceFile } from "./span.ts";
import * as t from "./tokens.ts";

/** The formatted text; with syntax errors, the text as it was. Formatting twice changes nothing. */
export function format(file: SourceFile): { text: string; diagnostics: readonly Diagnostic[] } {
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

/** Gives each line its indentation and the spaces between its pieces. */
function layOut(rows: readonly IToken[][], roles: Roles): Line[] {
  const lines: Line[] = [];
  // For each open bracket: how deep the lines in it are, and the line it was opened on.
  const open: { inner: number; outer: number; opener: IToken }[] = [];
  let before: IToken | null = null;
  for (const row of rows) {
    const first = row[0];
    if (first === undefined) {
      lines.push({ indent: 0, text: "", operatorAt: null, commentAt: null, closed: true });
      continue;
    }
    let indent = open.at(-1)?.inner ?? 0;
    if (isClose(first)) {
      // A line of closing brackets stands where the line stands that opened the outermost of them.
      const closing = row.findIndex((piece) => !isClose(piece));
      indent = open.at(-(closing === -1 ? row.length : closing))?.outer ?? 0;
    }
    // A block within a continued head belongs to the entry, not to the line.
    const base = indent;
    if (!isClose(first) && !isComment(first) && continues(first, before, open.at(-1)?.opener ?? null, roles)) {
      indent++;
    }
    const depth = open.length;
    let text = "";
    let entries = 0;
    let operatorAt: number | null = null;
    let commentAt: number | null = null;
    for (const piece of row) {
      const inSquare = open.at(-1)?.opener.tokenType === t.LSquare;
      if (piece !== first) text += spaceBetween(before!, piece, { roles, inSquare });
      if (open.length === depth) {
        if (roles.entries.has(piece.startOffset)) entries++;
        const assigns = piece.tokenType === t.Assign || piece.tokenType === t.Both;
        if (assigns && roles.aligned.has(first.startOffset)) operatorAt ??= text.length;
      }
      if (isComment(piece) && piece !== first) commentAt = text.length;
      text += piece.image.trimEnd();
      if (isClose(piece)) open.pop();
      const outer = roles.blocks.has(piece.startOffset) ? base : indent;
      if (isOpen(piece)) open.push({ inner: outer + 1, outer, opener: piece });
      if (!isComment(piece)) before = piece;
    }
    // Two entries on one line share no column with their neighbours.
    if (entries > 1) operatorAt = null;
    lines.push({ indent, text, operatorAt, commentAt, closed: open.length <= depth });
  }
  return lines;
}

/** Whether a line goes on with what the line before began. */
function continues(first: IToken, before: IToken | null, opener: IToken | null, roles: Roles): boolean {
  if (before === null || roles.entries.has(first.startOffset)) return false;
  if (first.tokenType === t.LCurly || (before.tokenType === t.RCurly && first.tokenType !== t.Dot)) return false;
  // Within brackets the items are indented already.
  return opener === null || roles.blocks.has(opener.startOffset);
}
