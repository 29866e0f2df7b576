/** `mixture`, `upcycle` and `test`: programs over parameter paths, and what they choose models by. */
import type {
  Arg,
  Expr,
  MixtureDecl,
  TestDecl,
  TestStatement,
  UpcycleDecl,
  UpcycleParam,
  UpcycleRule,
} from "../ast.ts";
import * as t from "../tokens.ts";
import type { Rule } from "./base.ts";
import { MapRules } from "./maps.ts";

type Entry = { readonly rule: UpcycleRule } | { readonly ensures: Expr };

export abstract class UpcycleRules extends MapRules {
  /** `mixture Qwen3MoE(W: F) of Qwen3`. */
  readonly mixture: Rule<MixtureDecl> = this.rule("mixture", () => {
    const start = this.CONSUME(t.Mixture);
    const model = this.SUBRULE1(this.name);
    const args: readonly Arg[] = this.OPTION1(() => this.SUBRULE1(this.args)) ?? [];
    this.CONSUME(t.Of, { ERR_MSG: "`of` and the dense model" });
    const of = this.SUBRULE2(this.name);
    const ofArgs: readonly Arg[] = this.OPTION2(() => this.SUBRULE2(this.args)) ?? [];
    const rules = this.OPTION3({ GATE: () => this.onSameLine(), DEF: () => this.SUBRULE(this.upcycleRules) }) ?? [];
    return { kind: "mixture", model, args, of, ofArgs, rules, doc: this.docOf(start), span: this.since(start) };
  });

  readonly upcycle: Rule<UpcycleDecl> = this.rule("upcycle", () => {
    const start = this.CONSUME(t.Upcycle);
    const name = this.SUBRULE1(this.name);
    const params = this.SUBRULE(this.upcycleParams);
    this.CONSUME(t.Arrow, { ERR_MSG: "`->` and the model that is made" });
    const target = this.SUBRULE2(this.name);
    const targetOf = this.OPTION1(() => {
      this.CONSUME(t.Of);
      return this.SUBRULE3(this.name);
    });
    const targetArgs: readonly Arg[] = this.OPTION2(() => this.SUBRULE(this.args)) ?? [];
    const where = this.SUBRULE(this.where);
    const entries = this.block(this.upcycleEntry, "a rule such as `embed = src.embed`", [
      "default",
      "ignore",
      "ensures",
    ]);
    const rules = entries.flatMap((entry) => ("rule" in entry ? [entry.rule] : []));
    const ensures = entries.flatMap((entry) => ("ensures" in entry ? [entry.ensures] : []));
    const doc = this.docOf(start);
    const span = this.since(start);
    return {
      kind: "upcycle",
      name,
      params,
      target,
      targetOf: targetOf ?? null,
      targetArgs,
      where,
      rules,
      ensures,
      doc,
      span,
    };
  });

  readonly upcycleParams: Rule<readonly UpcycleParam[]> = this.rule("upcycleParams", () => {
    this.CONSUME(t.LParen);
    const params = this.commaList(this.upcycleParam);
    this.CONSUME(t.RParen, { ERR_MSG: "`,` or `)`" });
    return params;
  });

  /** `src: Llama[M]`, `base: Llama`, `K = 2`. */
  readonly upcycleParam: Rule<UpcycleParam> = this.rule("upcycleParam", () => {
    const start = this.LA(1);
    const name = this.SUBRULE1(this.name);
    const source = this.OPTION1(() => {
      this.CONSUME(t.Colon);
      const model = this.SUBRULE2(this.name);
      const count = this.OPTION2(() => {
        this.CONSUME(t.LSquare);
        const counted = this.SUBRULE3(this.name);
        this.CONSUME(t.RSquare);
        return counted;
      });
      return { model, count: count ?? null };
    });
    const value = this.OPTION3(() => this.SUBRULE(this.initial));
    return { name, source: source ?? null, default: value ?? null, span: this.since(start) };
  });

  readonly upcycleEntry: Rule<Entry> = this.rule("upcycleEntry", () =>
    this.OR({
      ERR_MSG: "a rule",
      DEF: [
        {
          GATE: () => !this.at(t.Assign, 2) && !this.at(t.Dot, 2),
          ALT: (): Entry => {
            this.CONSUME(t.Ensures);
            return { ensures: this.SUBRULE(this.expression) };
          },
        },
        { ALT: (): Entry => ({ rule: this.SUBRULE(this.upcycleRule) }) },
      ],
    }),
  );

  readonly upcycleRule: Rule<UpcycleRule> = this.rule("upcycleRule", () =>
    this.OR({
      ERR_MSG: "a rule",
      DEF: [
        {
          GATE: () => this.at(t.Assign, 2),
          ALT: (): UpcycleRule => {
            const start = this.CONSUME(t.Default);
            const value = this.SUBRULE1(this.initial);
            return { kind: "default", value, span: this.since(start) };
          },
        },
        {
          GATE: () => !this.at(t.Assign, 2) && !this.at(t.Dot, 2) && !this.at(t.LSquare, 2) && !this.at(t.LCurly, 2),
          ALT: (): UpcycleRule => {
            const start = this.CONSUME(t.Ignore);
            const path = this.SUBRULE(this.path);
            return { kind: "ignore", path, span: this.since(start) };
          },
        },
        { ALT: (): UpcycleRule => this.SUBRULE(this.pathRule) },
      ],
    }),
  );

  /** `experts[n] = src[n].mlp`, or rules relative to a path in braces. */
  readonly pathRule: Rule<UpcycleRule> = this.rule("pathRule", () => {
    const start = this.LA(1);
    const path = this.SUBRULE(this.path);
    return this.OR({
      ERR_MSG: "`=` or `{`",
      DEF: [
        {
          ALT: (): UpcycleRule => {
            const value = this.SUBRULE(this.initial);
            return { kind: "assign", path, value, span: this.since(start) };
          },
        },
        {
          ALT: (): UpcycleRule => {
            const rules = this.SUBRULE(this.upcycleRules);
            return { kind: "scope", path, rules, span: this.since(start) };
          },
        },
      ],
    });
  });

  readonly upcycleRules: Rule<readonly UpcycleRule[]> = this.rule("upcycleRules", () =>
    this.block(this.upcycleRule, "a rule such as `embed = src.embed`", ["default", "ignore"]),
  );

  /** `test "ties break low" for TopK(D: 2, N: 2, K: 1) { ... }`. */
  readonly test: Rule<TestDecl> = this.rule("test", () => {
    const start = this.CONSUME(t.Test);
    const title = this.SUBRULE(this.string);
    this.CONSUME(t.For);
    const subject = this.SUBRULE(this.expression);
    const statements = this.block(this.testStatement, "`expect` or an assignment", ["expect"]);
    return { kind: "test", title: title.value, subject, statements, doc: this.docOf(start), span: this.since(start) };
  });

  readonly testStatement: Rule<TestStatement> = this.rule("testStatement", () => {
    const start = this.LA(1);
    return this.OR({
      ERR_MSG: "`expect` or an assignment",
      DEF: [
        {
          GATE: () => !this.at(t.Assign, 2) && !this.at(t.Dot, 2),
          ALT: (): TestStatement => {
            this.CONSUME(t.Expect);
            const value = this.SUBRULE(this.expression);
            return { kind: "expect", value, span: this.since(start) };
          },
        },
        {
          ALT: (): TestStatement => {
            const path = this.SUBRULE(this.path);
            const value = this.SUBRULE(this.initial);
            return { kind: "set", path, value, span: this.since(start) };
          },
        },
      ],
    });
  });
}
