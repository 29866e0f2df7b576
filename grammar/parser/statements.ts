/** Bodies of functions and of `forward`: signatures and statements. */
import type { Body, Expr, Port, Statement, Type } from "../ast.ts";
import * as t from "../tokens.ts";
import type { Rule } from "./base.ts";
import { TypeRules } from "./types.ts";

const statementKeywords = ["return", "for", "if", "loss", "metric", "update"];

export abstract class StatementRules extends TypeRules {
  /** `(x: [T, D], tol = 1e-4)`. */
  readonly ports: Rule<readonly Port[]> = this.rule("ports", () => {
    this.CONSUME(t.LParen);
    const ports = this.commaList(this.port);
    this.CONSUME(t.RParen, { ERR_MSG: "`,` or `)`" });
    return ports;
  });

  readonly port: Rule<Port> = this.rule("port", () => {
    const start = this.LA(1);
    const name = this.SUBRULE(this.name);
    const type = this.OPTION1(() => {
      this.CONSUME(t.Colon);
      return this.SUBRULE(this.type);
    });
    const value = this.OPTION2(() => this.SUBRULE(this.initial));
    return { name, type: type ?? null, default: value ?? null, span: this.since(start) };
  });

  /** `= expression`. */
  readonly initial: Rule<Expr> = this.rule("initial", () => {
    this.CONSUME(t.Assign);
    return this.SUBRULE(this.expression);
  });

  /** `-> [T, D], u32[T]`. */
  readonly result: Rule<readonly Type[]> = this.rule("result", () => {
    const types: Type[] = [];
    this.CONSUME(t.Arrow, { ERR_MSG: "`->` and a result type" });
    this.AT_LEAST_ONE_SEP({ SEP: t.Comma, DEF: () => types.push(this.SUBRULE(this.type)), ERR_MSG: "a type" });
    return types;
  });

  /** `where K <= N, N % 2 == 0`, or nothing. */
  readonly where: Rule<readonly Expr[]> = this.rule("where", () => {
    const conditions: Expr[] = [];
    this.OPTION(() => {
      this.CONSUME(t.Where);
      this.AT_LEAST_ONE_SEP({
        SEP: t.Comma,
        DEF: () => conditions.push(this.SUBRULE(this.expression)),
        ERR_MSG: "a condition",
      });
    });
    return conditions;
  });

  /** `= expression`, which is one `return`, or statements in braces. */
  readonly body: Rule<Body> = this.rule("body", () => {
    const start = this.LA(1);
    return this.OR({
      ERR_MSG: "`=` or `{`",
      DEF: [
        {
          ALT: (): Body => {
            const value = this.SUBRULE(this.initial);
            return { statements: [{ kind: "return", values: [value], span: value.span }], span: this.since(start) };
          },
        },
        {
          ALT: (): Body => {
            const statements = this.SUBRULE(this.statements);
            return { statements, span: this.since(start) };
          },
        },
      ],
    });
  });

  readonly statements: Rule<readonly Statement[]> = this.rule("statements", () =>
    this.block(this.statement, "a statement", statementKeywords),
  );

  readonly statement: Rule<Statement> = this.rule("statement", () =>
    this.OR({
      ERR_MSG: "a statement",
      DEF: [
        { ALT: (): Statement => this.SUBRULE(this.returnStatement) },
        { ALT: (): Statement => this.SUBRULE(this.forStatement) },
        { ALT: (): Statement => this.SUBRULE(this.ifStatement) },
        {
          GATE: () => !this.at(t.Assign, 2) && !this.at(t.Comma, 2),
          ALT: (): Statement => this.SUBRULE(this.lossStatement),
        },
        { GATE: () => this.at(t.Name, 2), ALT: (): Statement => this.SUBRULE(this.metricStatement) },
        { GATE: () => this.at(t.Name, 2), ALT: (): Statement => this.SUBRULE(this.updateStatement) },
        { ALT: (): Statement => this.SUBRULE(this.letStatement) },
      ],
    }),
  );

  readonly returnStatement: Rule<Statement> = this.rule("returnStatement", () => {
    const start = this.CONSUME(t.Return);
    const values: Expr[] = [];
    this.AT_LEAST_ONE_SEP({
      SEP: t.Comma,
      DEF: () => values.push(this.SUBRULE(this.expression)),
      ERR_MSG: "an expression",
    });
    return { kind: "return", values, span: this.since(start) };
  });

  readonly forStatement: Rule<Statement> = this.rule("forStatement", () => {
    const start = this.CONSUME(t.For);
    const variable = this.SUBRULE(this.name);
    this.CONSUME(t.In);
    const over = this.SUBRULE(this.expression);
    const body = this.SUBRULE(this.statements);
    return { kind: "for", variable, over, body, span: this.since(start) };
  });

  readonly ifStatement: Rule<Statement> = this.rule("ifStatement", () => {
    const start = this.CONSUME(t.If);
    const condition = this.SUBRULE(this.expression);
    const then = this.SUBRULE1(this.statements);
    const otherwise = this.OPTION(() => {
      this.CONSUME(t.Else);
      return this.OR({
        ERR_MSG: "`{` or `if`",
        DEF: [
          { ALT: (): readonly Statement[] => [this.SUBRULE(this.ifStatement)] },
          { ALT: (): readonly Statement[] => this.SUBRULE2(this.statements) },
        ],
      });
    });
    return { kind: "if", condition, then, else: otherwise ?? [], span: this.since(start) };
  });

  readonly lossStatement: Rule<Statement> = this.rule("lossStatement", () => {
    const start = this.CONSUME(t.Loss);
    const value = this.SUBRULE(this.expression);
    return { kind: "loss", value, span: this.since(start) };
  });

  readonly metricStatement: Rule<Statement> = this.rule("metricStatement", () => {
    const start = this.CONSUME(t.Metric);
    const name = this.SUBRULE(this.name);
    const value = this.SUBRULE(this.initial);
    return { kind: "metric", name, value, span: this.since(start) };
  });

  readonly updateStatement: Rule<Statement> = this.rule("updateStatement", () => {
    const start = this.CONSUME(t.Update);
    const name = this.SUBRULE(this.name);
    const value = this.SUBRULE(this.initial);
    return { kind: "update", name, value, span: this.since(start) };
  });

  readonly letStatement: Rule<Statement> = this.rule("letStatement", () => {
    const start = this.LA(1);
    const names = [this.SUBRULE(this.name)];
    this.MANY(() => {
      this.CONSUME(t.Comma);
      names.push(this.SUBRULE2(this.name));
    });
    const value = this.SUBRULE(this.initial);
    return { kind: "let", names, value, span: this.since(start) };
  });
}
