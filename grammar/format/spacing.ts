/** The spaces between two tokens of one line. */
import { tokenMatcher, type IToken } from "chevrotain";
import * as t from "../tokens.ts";
import type { Roles } from "./roles.ts";

export interface SpacingContext {
  readonly roles: Roles;
  /** Whether both tokens stand directly in square brackets, where products are written tight: `[G*R*C, D]`. */
  readonly inSquare: boolean;
}

export function spaceBetween(
  before: IToken,
  after: IToken,
  { roles, inSquare }: SpacingContext,
): "" | " " | "  " | "   " {
  const [left, right] = [before.tokenType, after.tokenType];
  if (right === t.Comment || right === t.Doc) return "  ";
  if (left === t.LCurly || right === t.RCurly) return left === t.LCurly && right === t.RCurly ? "" : " ";
  const gap = roles.entries.get(after.startOffset);
  if (gap !== undefined && endsOperand(before, roles)) return gap as "  " | "   ";
  if (left === t.LParen || left === t.LSquare || left === t.Dot) return "";
  if (right === t.RParen || right === t.RSquare || right === t.Dot || right === t.Comma || right === t.Colon) return "";
  if (
    (right === t.LParen || right === t.LSquare) &&
    endsOperand(before, roles) &&
    !roles.keywords.has(before.startOffset)
  ) {
    return "";
  }
  if (left === t.Minus && roles.signs.has(before.startOffset)) return "";
  if (inSquare && [left, right].some((type) => type === t.Star || type === t.Slash)) return "";
  return " ";
}

/** Whether an expression can end here, so that what follows is a postfix, an infix operator, or something new. */
function endsOperand(token: IToken, roles: Roles): boolean {
  if (tokenMatcher(token, t.Name) || tokenMatcher(token, t.StringLiteral) || roles.names.has(token.startOffset))
    return true;
  return [t.RParen, t.RSquare, t.RCurly, t.NumberLiteral, t.True, t.False].includes(token.tokenType);
}
