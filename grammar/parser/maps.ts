/** `map`: how a checkpoint and its configuration are named elsewhere. */
import type { ConfigRule, Expr, MapDecl, MapRule, Name } from "../ast.ts";
import * as t from "../tokens.ts";
import type { Rule } from "./base.ts";
import { LayerRules } from "./layers.ts";

type ConfigSide = Pick<ConfigRule, "keys" | "map" | "isModel" | "isWritten" | "default">;
type ConfigObject = MapDecl["objects"][number];
type ConfigIgnore = MapDecl["ignored"][number];
type ConfigEntry =
  { readonly rule: ConfigRule } | { readonly object: ConfigObject } | { readonly ignored: ConfigIgnore };
type Entry = { readonly config: readonly ConfigEntry[] } | { readonly rule: MapRule };

export abstract class MapRules extends LayerRules {
  readonly map: Rule<MapDecl> = this.rule("map", () => {
    const start = this.CONSUME(t.MapKeyword);
    const name = this.SUBRULE1(this.name);
    this.CONSUME(t.Colon);
    const model = this.SUBRULE2(this.name);
    const entries = this.block(this.mapEntry, 'a rule such as `embed.w <-> "..."`', [
      "config",
      "either",
      "ignore",
      "stored",
    ]);
    const settings = entries.flatMap((entry) => ("config" in entry ? entry.config : []));
    const config = settings.flatMap((entry) => ("rule" in entry ? [entry.rule] : []));
    const objects = settings.flatMap((entry) => ("object" in entry ? [entry.object] : []));
    const ignored = settings.flatMap((entry) => ("ignored" in entry ? [entry.ignored] : []));
    const rules = entries.flatMap((entry) => ("rule" in entry ? [entry.rule] : []));
    return {
      kind: "map",
      name,
      model,
      config,
      objects,
      ignored,
      rules,
      doc: this.docOf(start),
      span: this.since(start),
    };
  });

  readonly mapEntry: Rule<Entry> = this.rule("mapEntry", () =>
    this.OR({
      ERR_MSG: "a rule",
      DEF: [
        { GATE: () => this.at(t.LCurly, 2), ALT: (): Entry => ({ config: this.SUBRULE(this.configRules) }) },
        { ALT: (): Entry => ({ rule: this.SUBRULE(this.mapRule) }) },
      ],
    }),
  );

  /** `config { V <-> vocab_size }`. */
  readonly configRules: Rule<readonly ConfigEntry[]> = this.rule("configRules", () => {
    this.CONSUME(t.Config);
    return this.block(this.configEntry, "a rule such as `D <-> hidden_size`", ["either", "ignore"]);
  });

  /** `either` and `ignore` may be parameters, too: then `<->` or an operator follows. */
  readonly configEntry: Rule<ConfigEntry> = this.rule("configEntry", () =>
    this.OR({
      ERR_MSG: "a rule",
      DEF: [
        {
          GATE: () => this.at(t.Either) && this.at(t.Word, 2) && !this.at(t.Operator, 2),
          ALT: (): ConfigEntry => ({ object: this.SUBRULE(this.configObject) }),
        },
        {
          GATE: () => this.at(t.Ignore) && this.at(t.Word, 2) && !this.at(t.Operator, 2),
          ALT: (): ConfigEntry => ({ ignored: this.SUBRULE(this.configIgnore) }),
        },
        { ALT: (): ConfigEntry => ({ rule: this.SUBRULE(this.configRule) }) },
      ],
    }),
  );

  /** `either rope_scaling or rope_parameters`. */
  readonly configObject: Rule<ConfigObject> = this.rule("configObject", () => {
    const start = this.CONSUME(t.Either);
    const names = [this.SUBRULE1(this.configKey)];
    this.AT_LEAST_ONE({
      DEF: () => {
        this.CONSUME(t.Or);
        names.push(this.SUBRULE2(this.configKey));
      },
      ERR_MSG: "`or`",
    });
    return { names, span: this.since(start) };
  });

  /** `ignore attn_config.attn_pdrop`. */
  readonly configIgnore: Rule<ConfigIgnore> = this.rule("configIgnore", () => {
    const start = this.CONSUME(t.Ignore);
    return { key: this.SUBRULE(this.configKey), span: this.since(start) };
  });

  /** `theta <-> rope_parameters.rope_theta | rope_theta = 10000.0`, `rotary <-> map rope_scaling`. */
  readonly configRule: Rule<ConfigRule> = this.rule("configRule", () => {
    const start = this.LA(1);
    const left = this.SUBRULE(this.expression);
    const right = this.OR({
      ERR_MSG: "`<->`",
      DEF: [{ ALT: () => this.SUBRULE(this.configWritten) }, { ALT: () => this.SUBRULE(this.configSide) }],
    });
    return { ...right, left, span: this.since(start) };
  });

  /** `["LlamaForCausalLM"] -> architectures`. */
  readonly configWritten: Rule<ConfigSide> = this.rule("configWritten", () => {
    this.CONSUME(t.Arrow);
    return { keys: [this.SUBRULE(this.configKey)], map: null, isModel: false, isWritten: true, default: null };
  });

  readonly configSide: Rule<ConfigSide> = this.rule("configSide", () => {
    this.CONSUME(t.Both);
    return this.OR({
      ERR_MSG: "a key",
      DEF: [
        { GATE: () => this.atMapName(), ALT: () => this.SUBRULE(this.configMap) },
        { GATE: () => this.at(t.Of, 2), ALT: () => this.SUBRULE(this.configModel) },
        { ALT: () => this.SUBRULE(this.configKeys) },
      ],
    });
  });

  readonly configMap: Rule<ConfigSide> = this.rule("configMap", () => {
    this.CONSUME(t.MapKeyword);
    return { keys: [], map: this.SUBRULE(this.name), isModel: false, isWritten: false, default: null };
  });

  /** `member <-> map of model`. */
  readonly configModel: Rule<ConfigSide> = this.rule("configModel", () => {
    this.CONSUME(t.MapKeyword);
    this.CONSUME(t.Of);
    return { keys: [this.SUBRULE(this.configKey)], map: null, isModel: true, isWritten: false, default: null };
  });

  readonly configKeys: Rule<ConfigSide> = this.rule("configKeys", () => {
    const keys: (readonly Name[])[] = [];
    this.AT_LEAST_ONE_SEP({ SEP: t.Bar, DEF: () => keys.push(this.SUBRULE(this.configKey)), ERR_MSG: "a key" });
    const value = this.OPTION(() => this.SUBRULE(this.initial));
    return { keys, map: null, isModel: false, isWritten: false, default: value ?? null };
  });

  /** `map` may be a key itself: then a name that follows begins the next rule, and an operator or `<->` follows that. */
  private atMapName(): boolean {
    return this.at(t.MapKeyword) && this.at(t.Name, 2) && !this.at(t.Both, 3) && !this.at(t.Operator, 3);
  }

  readonly configKey: Rule<readonly Name[]> = this.rule("configKey", () => {
    const parts: Name[] = [];
    this.AT_LEAST_ONE_SEP({ SEP: t.Dot, DEF: () => parts.push(this.SUBRULE(this.word)), ERR_MSG: "a key" });
    return parts;
  });

  readonly mapRules: Rule<readonly MapRule[]> = this.rule("mapRules", () =>
    this.block(this.mapRule, 'a rule such as `w <-> "weight"`', ["either", "ignore", "stored"]),
  );

  readonly mapRule: Rule<MapRule> = this.rule("mapRule", () =>
    this.OR({
      ERR_MSG: "a rule",
      DEF: [
        { GATE: () => this.at(t.LCurly, 2), ALT: (): MapRule => this.SUBRULE(this.either) },
        { GATE: () => this.at(t.StringLiteral, 2), ALT: (): MapRule => this.SUBRULE(this.ignore) },
        { GATE: () => this.at(t.Name, 2), ALT: (): MapRule => this.SUBRULE(this.stored) },
        { ALT: (): MapRule => this.SUBRULE(this.pair) },
      ],
    }),
  );

  /** `either { ... } or { ... }`. */
  readonly either: Rule<MapRule> = this.rule("either", () => {
    const start = this.CONSUME(t.Either);
    const alternatives = [this.SUBRULE(this.mapRules)];
    this.AT_LEAST_ONE({
      DEF: () => {
        this.CONSUME(t.Or);
        alternatives.push(this.SUBRULE2(this.mapRules));
      },
      ERR_MSG: "`or`",
    });
    return { kind: "either", alternatives, span: this.since(start) };
  });

  /** `ignore "lm_head.weight" = embed.w else tie = false`. */
  readonly ignore: Rule<MapRule> = this.rule("ignore", () => {
    const start = this.CONSUME(t.Ignore);
    const pattern = this.SUBRULE(this.string);
    const held = this.OPTION(() => this.SUBRULE(this.sameAs));
    return { kind: "ignore", pattern, same: null, otherwise: null, ...held, span: this.since(start) };
  });

  /** `= embed.w else tie = false`. */
  readonly sameAs: Rule<Pick<Extract<MapRule, { kind: "ignore" }>, "same" | "otherwise">> = this.rule("sameAs", () => {
    this.CONSUME(t.Assign);
    const same = this.SUBRULE(this.path);
    const otherwise = this.OPTION(() => {
      this.CONSUME(t.Else);
      const name = this.SUBRULE(this.name);
      return { name, value: this.SUBRULE(this.initial) };
    });
    return { same, otherwise: otherwise ?? null };
  });

  /** `stored mxfp4("*_blocks", "*_scales")`. */
  readonly stored: Rule<MapRule> = this.rule("stored", () => {
    const start = this.CONSUME(t.Stored);
    const encoding = this.SUBRULE(this.name);
    this.CONSUME(t.LParen);
    const patterns = this.commaList(this.string);
    this.CONSUME(t.RParen, { ERR_MSG: "`,` or `)`" });
    return { kind: "stored", encoding, patterns, span: this.since(start) };
  });

  /** `attn.q.w <-> "self_attn.q_proj.weight" as [G*R*C, D] if bias { ... }`, `models[n] <-> map "models.{n}"`. */
  readonly pair: Rule<MapRule> = this.rule("pair", () => {
    const start = this.LA(1);
    const left = this.OR([
      { ALT: (): readonly Expr[] => this.SUBRULE(this.paths) },
      { ALT: (): readonly Expr[] => [this.SUBRULE(this.path)] },
    ]);
    this.CONSUME(t.Both);
    const isModel = this.OPTION4(() => this.CONSUME(t.MapKeyword)) !== undefined;
    const pattern = this.SUBRULE(this.string);
    const layout = this.OPTION1(() => {
      this.CONSUME(t.As);
      return this.SUBRULE(this.axes);
    });
    const condition = this.OPTION2(() => {
      this.CONSUME(t.If);
      return this.SUBRULE(this.expression);
    });
    // On a new line, `{ a, b }` is the left side of the next rule.
    const rules = this.OPTION3({ GATE: () => this.onSameLine(), DEF: () => this.SUBRULE(this.mapRules) });
    return {
      kind: "pair",
      left,
      pattern,
      layout: layout ?? null,
      rules: rules ?? null,
      isModel,
      condition: condition ?? null,
      span: this.since(start),
    };
  });

  /** `{ gate.w, up.w }`: sources that are concatenated. */
  readonly paths: Rule<readonly Expr[]> = this.rule("paths", () => {
    this.CONSUME(t.LCurly);
    const paths = this.commaList(this.path);
    this.CONSUME(t.RCurly, { ERR_MSG: "`,` or `}`" });
    return paths;
  });
}
