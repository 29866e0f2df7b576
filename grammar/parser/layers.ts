/** `dim`, `fn`, `config`, and the four keywords of one construct: `layer`, `router`, `model`, `optimizer`. */
import type { IToken, ParserMethod } from "chevrotain";
import type { ConfigDecl, DimDecl, FnDecl, Forward, LayerDecl, Member, Name, Param, Shape } from "../ast.ts";
import type { Span } from "../span.ts";
import * as t from "../tokens.ts";
import type { Rule } from "./base.ts";
import { StatementRules } from "./statements.ts";

type ConfigField = ConfigDecl["fields"][number];
const FORWARD = { word: "forward", example: "forward(x: [T, D]) -> [T, D] = ..." } as const;
const STEP = { word: "step", example: "step(w: [..], g: [..], rate: []) -> [..] = w - rate * g" } as const;

type Entry = { readonly forward: Forward } | { readonly member: Member };

export abstract class LayerRules extends StatementRules {
  /** `dim H = 128`. */
  readonly dim: Rule<DimDecl> = this.rule("dim", () => {
    const start = this.CONSUME(t.Dim);
    const name = this.SUBRULE(this.name);
    const size = this.SUBRULE(this.initial);
    return { kind: "dim", name, size, doc: this.docOf(start), span: this.since(start) };
  });

  /** `fn topk[N -> K](z: [.., N]) -> [.., K], u32[.., K] { ... }`. */
  readonly fn: Rule<FnDecl> = this.rule("fn", () => {
    const start = this.CONSUME(t.Fn);
    const name = this.SUBRULE(this.name);
    const axes = this.OPTION(() => this.SUBRULE(this.axisParams)) ?? [];
    const params = this.SUBRULE(this.ports);
    const result = this.SUBRULE(this.result);
    const where = this.SUBRULE(this.where);
    const body = this.SUBRULE(this.body);
    return { kind: "fn", name, axes, params, result, where, body, doc: this.docOf(start), span: this.since(start) };
  });

  /** `[N]`, `[N, K]`, `[N -> K]`. */
  readonly axisParams: Rule<readonly Name[]> = this.rule("axisParams", () => {
    this.CONSUME(t.LSquare);
    const axes = [this.SUBRULE(this.name)];
    this.MANY(() => {
      this.OR([{ ALT: () => this.CONSUME(t.Comma) }, { ALT: () => this.CONSUME(t.Arrow) }]);
      axes.push(this.SUBRULE2(this.name));
    });
    this.CONSUME(t.RSquare, { ERR_MSG: "`,`, `->` or `]`" });
    return axes;
  });

  readonly layer: Rule<LayerDecl> = this.rule("layer", () => {
    const start = this.OR([
      { ALT: () => this.CONSUME(t.Layer) },
      { ALT: () => this.CONSUME(t.Router) },
      { ALT: () => this.CONSUME(t.Model) },
    ]);
    const name = this.SUBRULE(this.name);
    const params = this.SUBRULE(this.params);
    const where = this.SUBRULE(this.where);
    const errors = this.diagnostics.length;
    const entries = this.block(this.entry, "a member or `forward`", ["forward"]);
    const head = { keyword: start.image as LayerDecl["keyword"], name, params, shape: null, where };
    return { kind: "layer", ...head, ...this.parts(start, head, entries, errors, FORWARD) };
  });

  /** `optimizer Muon(rounds = 5, rest: optimizer = AdamW) for [.., A, B] else rest { ... step(w: ..., g: ...) -> ... }`. */
  readonly optimizer: Rule<LayerDecl> = this.rule("optimizer", () => {
    const start = this.CONSUME(t.Optimizer);
    const name = this.SUBRULE(this.name);
    const params = this.SUBRULE(this.params);
    const shape = this.OPTION1(() => this.SUBRULE(this.shape)) ?? null;
    const where = this.SUBRULE(this.where);
    const errors = this.diagnostics.length;
    const entries = this.block(this.stepEntry, "a member or `step`", ["step"]);
    const head = { keyword: "optimizer" as const, name, params, shape, where };
    return { kind: "layer", ...head, ...this.parts(start, head, entries, errors, STEP) };
  });

  readonly shape: Rule<Shape> = this.rule("shape", () => {
    const start = this.CONSUME(t.For);
    const axes = this.SUBRULE(this.axes);
    const otherwise = this.OPTION(() => {
      this.CONSUME(t.Else);
      return this.SUBRULE(this.expression);
    });
    return { axes, otherwise: otherwise ?? null, span: this.since(start) };
  });

  /** What stands in the braces, of which exactly one is what the declaration does. */
  private parts(
    start: IToken,
    { keyword, name }: Pick<LayerDecl, "keyword" | "name">,
    entries: readonly Entry[],
    errors: number,
    does: typeof FORWARD | typeof STEP,
  ): Pick<LayerDecl, "members" | "forward" | "doc" | "span"> {
    const members = entries.flatMap((entry) => ("member" in entry ? [entry.member] : []));
    const [forward, ...more] = entries.flatMap((entry) => ("forward" in entry ? [entry.forward] : []));
    if (!this.RECORDING_PHASE) {
      for (const { span } of more) {
        const first = { span: headOf(forward!.span, does.word), text: "the first one" };
        const message = `${keyword} \`${name.text}\` has two \`${does.word}\`s`;
        this.report("syntax/duplicate-forward", message, headOf(span, does.word), "keep one of them", first);
      }
      // After an error inside, the `forward` may be what could not be read.
      if (forward === undefined && this.diagnostics.length === errors) {
        const message = `${keyword} \`${name.text}\` has no \`${does.word}\``;
        this.report("syntax/missing-forward", message, name.span, `add \`${does.example}\``);
      }
    }
    return { members, forward: forward ?? null, doc: this.docOf(start), span: this.since(start) };
  }

  /** `(I -> O, bias = false, R: router)`. */
  readonly params: Rule<readonly Param[]> = this.rule("params", () => {
    const params: Param[] = [];
    let [more, arrow] = [true, false];
    this.CONSUME(t.LParen);
    this.MANY({
      GATE: () => more,
      DEF: () => {
        const param = this.SUBRULE(this.param);
        params.push({ ...param, arrow });
        arrow = this.OPTION1(() => this.CONSUME(t.Arrow)) !== undefined;
        const comma = this.OPTION2({ GATE: () => !arrow, DEF: () => this.CONSUME(t.Comma) });
        more = arrow || comma !== undefined;
      },
    });
    this.CONSUME(t.RParen, { ERR_MSG: arrow ? "a name" : "`,` or `)`" });
    return params;
  });

  readonly param: Rule<Param> = this.rule("param", () => {
    const start = this.LA(1);
    const name = this.SUBRULE(this.name);
    const type = this.OPTION1(() => {
      this.CONSUME(t.Colon);
      return this.SUBRULE2(this.name);
    });
    const value = this.OPTION2(() => this.SUBRULE(this.initial));
    return { name, type: type ?? null, default: value ?? null, arrow: false, span: this.since(start) };
  });

  readonly entry: Rule<Entry> = this.rule("entry", () =>
    this.OR({
      ERR_MSG: "a member or `forward`",
      DEF: [
        { GATE: () => this.at(t.LParen, 2), ALT: (): Entry => ({ forward: this.SUBRULE(this.forward) }) },
        { ALT: (): Entry => ({ member: this.SUBRULE(this.member) }) },
      ],
    }),
  );

  readonly forward: Rule<Forward> = this.rule("forward", () => {
    const start = this.CONSUME(t.Forward);
    return this.SUBRULE(this.signature, { ARGS: [start] });
  });

  readonly stepEntry: Rule<Entry> = this.rule("stepEntry", () =>
    this.OR({
      ERR_MSG: "a member or `step`",
      DEF: [
        { GATE: () => this.at(t.LParen, 2), ALT: (): Entry => ({ forward: this.SUBRULE(this.stepping) }) },
        { ALT: (): Entry => ({ member: this.SUBRULE(this.member) }) },
      ],
    }),
  );

  readonly stepping: Rule<Forward> = this.rule("stepping", () => {
    const start = this.CONSUME(t.Step);
    return this.SUBRULE(this.signature, { ARGS: [start] });
  });

  /** What follows the word at `start`: arguments, results and the body. */
  readonly signature: ParserMethod<[IToken], Forward> = this.RULE("signature", (start = this.LA(1)) => {
    const params = this.SUBRULE(this.ports);
    const result = this.SUBRULE(this.result);
    const body = this.SUBRULE(this.body);
    return { params, result, body, span: this.since(start) };
  });

  /** `b = param[O](zeros) if bias`, `blocks[l] = L of Block(...)`. */
  readonly member: Rule<Member> = this.rule("member", () => {
    const start = this.LA(1);
    const name = this.SUBRULE(this.name);
    const index = this.OPTION1({
      GATE: () => this.onSameLine(),
      DEF: () => {
        this.CONSUME(t.LSquare);
        const label = this.SUBRULE2(this.name);
        this.CONSUME(t.RSquare, { ERR_MSG: "`]`" });
        return label;
      },
    });
    const value = this.SUBRULE(this.initial);
    const condition = this.OPTION2(() => {
      this.CONSUME(t.If);
      return this.SUBRULE(this.expression);
    });
    return {
      name,
      index: index ?? null,
      value,
      condition: condition ?? null,
      doc: this.docOf(start),
      span: this.since(start),
    };
  });

  /** `config tiny: Model { V: 96, L: 2 }`. */
  readonly config: Rule<ConfigDecl> = this.rule("config", () => {
    const start = this.CONSUME(t.Config);
    const name = this.SUBRULE1(this.name);
    this.CONSUME(t.Colon);
    const model = this.SUBRULE2(this.name);
    const fields = this.block(this.field, "a field such as `D: 64`");
    return { kind: "config", name, model, fields, doc: this.docOf(start), span: this.since(start) };
  });

  readonly field: Rule<ConfigField> = this.rule("field", () => {
    const start = this.LA(1);
    const name = this.SUBRULE(this.word);
    this.CONSUME(t.Colon);
    const value = this.SUBRULE(this.expression);
    const span = this.since(start);
    this.OPTION(() => this.CONSUME(t.Comma));
    return { name, value, span };
  });
}

/** Only the first word: a label over the whole body would hide it. */
function headOf(span: Span, word: string): Span {
  return { ...span, end: span.start + word.length };
}
