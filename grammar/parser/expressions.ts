/**
 * Expressions. Binary operators are read by precedence climbing in one rule, which keeps the grammar (and the time to
 * analyse it at start-up) small. From loose to tight: `=>`, `or`, `and`, `not`, comparisons, `??`, `+ -`, `* / %`, `-x`,
 * postfix. A postfix `(` or `[` must stand on the line on which its operand ends: nothing separates statements.
 */
import type { IToken, ParserMethod } from "chevrotain";
import type { Arg, BinaryOp, Expr, StringExpr } from "../ast.ts";
import * as t from "../tokens.ts";
import { BaseRules, type Rule } from "./base.ts";

/** How tightly an operator binds; the formatter needs no copy, as it keeps parentheses as written. */
const binding: Readonly<Record<BinaryOp, number>> = {
  "=>": 1,
  or: 2,
  and: 3,
  "==": 5,
  "!=": 5,
  "<": 5,
  "<=": 5,
  ">": 5,
  ">=": 5,
  "??": 6,
  "+": 7,
  "-": 7,
  "*": 8,
  "/": 8,
  "%": 8,
};
const notBinding = 4;
const comparison = 5;

const escapes: Readonly<Record<string, string>> = { '"': '"', "\\": "\\", n: "\n", t: "\t" };

export abstract class ExpressionRules extends BaseRules {
  readonly expression: Rule<Expr> = this.rule("expression", () =>
    this.OR({
      ERR_MSG: "an expression",
      DEF: [
        { GATE: () => this.at(t.Of, 2), ALT: (): Expr => this.SUBRULE(this.repetition) },
        { ALT: (): Expr => this.SUBRULE(this.conditional) },
        { ALT: (): Expr => this.SUBRULE(this.operation, { ARGS: [0] }) },
      ],
    }),
  );

  /** `N of SwiGLU(D, F)`. */
  readonly repetition: Rule<Expr> = this.rule("repetition", () => {
    const start = this.LA(1);
    const count = this.OR({
      ERR_MSG: "a count",
      DEF: [{ ALT: (): Expr => this.SUBRULE(this.number) }, { ALT: (): Expr => this.SUBRULE(this.reference) }],
    });
    this.CONSUME(t.Of);
    const value = this.SUBRULE(this.expression);
    return { kind: "of", count, value, span: this.since(start) };
  });

  /** `if c then a else b`. */
  readonly conditional: Rule<Expr> = this.rule("conditional", () => {
    const start = this.CONSUME(t.If);
    const condition = this.SUBRULE(this.expression);
    this.CONSUME(t.Then);
    const then = this.SUBRULE1(this.expression);
    this.CONSUME(t.Else);
    const otherwise = this.SUBRULE2(this.expression);
    return { kind: "if", condition, then, else: otherwise, span: this.since(start) };
  });

  /** Operators that bind at least as tightly as `min`. */
  readonly operation: ParserMethod<[number], Expr> = this.RULE("operation", (min: number) => {
    const start = this.LA(1);
    let compared = false;
    let left = this.OR({
      ERR_MSG: "an expression",
      DEF: [
        { GATE: () => min <= notBinding, ALT: (): Expr => this.SUBRULE(this.negation) },
        { ALT: (): Expr => this.SUBRULE(this.minus) },
      ],
    });
    this.MANY({
      GATE: () => (binding[this.LA(1).image as BinaryOp] ?? 0) >= min,
      DEF: () => {
        const token = this.CONSUME(t.Operator);
        const op = token.image as BinaryOp;
        if (compared && binding[op] === comparison) {
          this.report(
            "syntax/chained-comparison",
            "comparisons do not chain",
            this.spanOf(token),
            "join two comparisons with `and`",
          );
        }
        compared = binding[op] === comparison;
        // `a => b => c` is `a => (b => c)`; the others group to the left.
        const right = this.SUBRULE(this.operation, { ARGS: [op === "=>" ? binding[op] : binding[op] + 1] });
        left = { kind: "binary", op, left, right, span: this.since(start) };
      },
    });
    return left;
  });

  readonly negation: Rule<Expr> = this.rule("negation", () => {
    const start = this.CONSUME(t.Not);
    const value = this.SUBRULE(this.operation, { ARGS: [notBinding] });
    return { kind: "unary", op: "not", value, span: this.since(start) };
  });

  readonly minus: Rule<Expr> = this.rule("minus", () =>
    this.OR({
      ERR_MSG: "an expression",
      DEF: [
        {
          ALT: (): Expr => {
            const start = this.CONSUME(t.Minus);
            const value = this.SUBRULE(this.minus);
            return { kind: "unary", op: "-", value, span: this.since(start) };
          },
        },
        { ALT: (): Expr => this.SUBRULE(this.postfix) },
      ],
    }),
  );

  readonly postfix: Rule<Expr> = this.rule("postfix", () => {
    const start = this.LA(1);
    let value = this.SUBRULE(this.primary);
    this.MANY({
      GATE: () => this.at(t.Dot) || this.onSameLine(),
      DEF: () => {
        const object = value;
        value = this.OR([
          { ALT: (): Expr => this.SUBRULE(this.step, { ARGS: [object, start] }) },
          {
            ALT: (): Expr => {
              const args = this.SUBRULE(this.args);
              return { kind: "call", callee: object, args, span: this.since(start) };
            },
          },
        ]);
      },
    });
    return value;
  });

  /** `blocks[l].ffn.pick.score.w`: what can be assigned to or mapped. */
  readonly path: Rule<Expr> = this.rule("path", () => {
    const start = this.LA(1);
    let value: Expr = this.SUBRULE(this.reference);
    this.MANY({
      GATE: () => this.at(t.Dot) || this.onSameLine(),
      DEF: () => (value = this.SUBRULE(this.step, { ARGS: [value, start] })),
    });
    return value;
  });

  /** `.name` or `[...]` behind `object`, which began at `start`. */
  readonly step: ParserMethod<[Expr, IToken], Expr> = this.RULE("step", (object: Expr, start = this.LA(1)) =>
    this.OR([
      {
        ALT: (): Expr => {
          this.CONSUME(t.Dot);
          const name = this.SUBRULE(this.word);
          return { kind: "member", object, name, span: this.since(start) };
        },
      },
      {
        ALT: (): Expr => {
          const items = this.SUBRULE(this.brackets);
          return { kind: "bracket", object, items, span: this.since(start) };
        },
      },
    ]),
  );

  readonly brackets: Rule<readonly Expr[]> = this.rule("brackets", () => {
    this.CONSUME(t.LSquare);
    const items = this.commaList(this.bracketItem);
    this.CONSUME(t.RSquare, { ERR_MSG: "`,` or `]`" });
    return items;
  });

  /** `D -> F`, `..`, or just an expression. */
  readonly bracketItem: Rule<Expr> = this.rule("bracketItem", () =>
    this.OR([
      { ALT: (): Expr => ({ kind: "rest", span: this.spanOf(this.CONSUME(t.Rest)) }) },
      { ALT: (): Expr => this.SUBRULE(this.arrow) },
    ]),
  );

  readonly args: Rule<readonly Arg[]> = this.rule("args", () => {
    this.CONSUME(t.LParen);
    const items = this.commaList(this.arg);
    this.CONSUME(t.RParen, { ERR_MSG: "`,` or `)`" });
    return items;
  });

  readonly arg: Rule<Arg> = this.rule("arg", () => {
    const start = this.LA(1);
    const name = this.OPTION({
      GATE: () => this.at(t.Colon, 2),
      DEF: () => {
        const label = this.SUBRULE(this.word);
        this.CONSUME(t.Colon);
        return label;
      },
    });
    const value = this.SUBRULE(this.arrow);
    return { name: name ?? null, value, span: this.since(start) };
  });

  /** `D -> F`, or just an expression. */
  readonly arrow: Rule<Expr> = this.rule("arrow", () => {
    const start = this.LA(1);
    const from = this.SUBRULE(this.expression);
    const to = this.OPTION(() => {
      this.CONSUME(t.Arrow);
      return this.SUBRULE2(this.expression);
    });
    return to === undefined ? from : { kind: "arrow", from, to, span: this.since(start) };
  });

  readonly primary: Rule<Expr> = this.rule("primary", () =>
    this.OR({
      ERR_MSG: "an expression",
      DEF: [
        { ALT: (): Expr => this.SUBRULE(this.number) },
        { ALT: (): Expr => this.SUBRULE(this.string) },
        { ALT: (): Expr => ({ kind: "bool", value: true, span: this.spanOf(this.CONSUME(t.True)) }) },
        { ALT: (): Expr => ({ kind: "bool", value: false, span: this.spanOf(this.CONSUME(t.False)) }) },
        { GATE: () => !this.atDeclarationLine(), ALT: (): Expr => this.SUBRULE(this.reference) },
        { ALT: (): Expr => this.SUBRULE(this.list) },
        {
          ALT: (): Expr => {
            this.CONSUME(t.LParen);
            const inner = this.SUBRULE(this.expression);
            this.CONSUME(t.RParen);
            return inner;
          },
        },
      ],
    }),
  );

  readonly reference: Rule<Expr> = this.rule("reference", () => {
    const name = this.SUBRULE(this.name);
    return { kind: "name", name, span: name.span };
  });

  readonly list: Rule<Expr> = this.rule("list", () => {
    const start = this.CONSUME(t.LSquare);
    const items = this.commaList(this.expression);
    this.CONSUME(t.RSquare, { ERR_MSG: "`,` or `]`" });
    return { kind: "list", items, span: this.since(start) };
  });

  readonly number: Rule<Expr> = this.rule("number", () => {
    const token = this.CONSUME(t.NumberLiteral);
    const value = Number(token.image.replaceAll("_", ""));
    return { kind: "number", value, float: /[.eE]/.test(token.image), span: this.spanOf(token) };
  });

  readonly string: Rule<StringExpr> = this.rule("string", () => {
    const token = this.CONSUME(t.StringLiteral, { ERR_MSG: "a string" });
    const span = this.spanOf(token);
    const closed = token.tokenType !== t.UnterminatedString;
    const body = token.image.slice(1, closed ? -1 : undefined);
    if (!closed && !this.RECORDING_PHASE) {
      this.report("syntax/unterminated-string", "this string has no end", span, 'add the closing `"`');
    }
    const value = body.replace(/\\(.)/g, (written, letter: string) => {
      const meant = escapes[letter];
      if (meant === undefined) {
        const help = 'the escapes are `\\"`, `\\\\`, `\\n` and `\\t`';
        this.report("syntax/unknown-escape", `\`${written}\` is not an escape`, span, help);
      }
      return meant ?? written;
    });
    return { kind: "string", value, span };
  });
}
