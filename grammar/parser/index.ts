/** The whole file: edition, imports, declarations. The leaf of the rule classes, which alone analyses the grammar. */
import { EOF, tokenMatcher, type IToken } from "chevrotain";
import type { Expr, Import, Item, Module, Name } from "../ast.ts";
import type { Damage, LostName } from "../damage.ts";
import type { Diagnostic } from "../diagnostic.ts";
import * as t from "../tokens.ts";
import type { ParseInput, Rule } from "./base.ts";
import { UpcycleRules } from "./upcycles.ts";

type ImportedName = Import["names"][number];
type Part = { readonly import: Import } | { readonly item: Item };

const declaration = "a declaration such as `fn` or `layer`";

export class MoeParser extends UpcycleRules {
  private damaged = new Map<Item, Diagnostic>();
  private lost = new Map<string, LostName>();
  private nameless = false;

  constructor(validate = false) {
    super(validate);
    this.performSelfAnalysis();
  }

  /** What the errors of the last file took away. */
  get damage(): Damage {
    return { items: this.damaged, names: this.lost, isNameless: this.nameless };
  }

  /** Parses one file; what went wrong is in `diagnostics`, what is lost by it in `damage`. */
  parse(input: ParseInput): Module {
    this.begin(input);
    this.damaged = new Map();
    this.lost = new Map();
    this.nameless = false;
    const { edition, parts } = this.module();
    const imports = parts.flatMap((part) => ("import" in part ? [part.import] : []));
    const items = parts.flatMap((part) => ("item" in part ? [part.item] : []));
    return {
      kind: "module",
      edition,
      imports,
      items,
      span: { file: input.file, start: 0, end: input.file.text.length },
    };
  }

  /** The one expression that a text is; null after an error. */
  parseExpression(input: ParseInput): Expr | null {
    this.begin(input);
    return this.alone();
  }

  readonly alone: Rule<Expr | null> = this.rule("alone", () => {
    let expr: Expr | null = null;
    this.guard(() => (expr = this.SUBRULE(this.expression)), []);
    if (expr !== null && !this.at(EOF)) this.unexpected(this.LA(1), "the end", this.LA(1), []);
    return expr;
  });

  readonly module: Rule<{ edition: number | null; parts: readonly Part[] }> = this.rule("module", () => {
    let edition: number | null = null;
    const parts: Part[] = [];
    this.OPTION({
      GATE: () => this.at(t.NumberLiteral, 2),
      DEF: () => {
        this.CONSUME(t.Edition);
        edition = Number(this.CONSUME(t.NumberLiteral).image);
      },
    });
    do {
      this.MANY(() => {
        const [start, errors, before] = [this.LA(1), this.diagnostics.length, parts.length];
        const isApart = !this.onSameLine();
        this.guard(() => parts.push(this.SUBRULE(this.part)), t.keywords);
        const part = parts[before];
        // What stands behind a string without an end is skipped without a message of its own.
        const error = this.diagnostics[errors] ?? (part === undefined ? this.diagnostics.at(-1) : undefined);
        if (error === undefined) return;
        if (part === undefined) this.losePart(start, error, isApart ? undefined : parts.at(-1));
        else if ("item" in part) this.damaged.set(part.item, error);
      });
    } while (this.skipToDeclaration(parts.at(-1)));
    return { edition, parts };
  });

  /** Reports what stands between declarations. False at the end of the file. */
  private skipToDeclaration(before: Part | undefined): boolean {
    if (this.at(EOF)) return false;
    const token = this.LA(1);
    const isApart = !this.onSameLine() && this.at(t.Name);
    const errors = this.diagnostics.length;
    this.unexpected(token, declaration, token, t.declarationWords);
    do this.skipToken();
    while (!this.at(EOF) && (this.onSameLine() || !this.atDeclaration()));
    const error = this.diagnostics[errors] ?? this.diagnostics.at(-1);
    if (error !== undefined) this.losePart(token, error, isApart ? undefined : before);
    return true;
  }

  /**
   * Notes what is lost from `start` to the token consumed last. A misspelt keyword too is followed by the name that it declares. What does
   * not begin a line with a word belongs to the declaration `before` it, rather, which has come to its end too early.
   */
  private losePart(start: IToken, error: Diagnostic, before: Part | undefined): void {
    if (before !== undefined && "item" in before && !this.damaged.has(before.item))
      this.damaged.set(before.item, error);
    const isImport = start.tokenType === t.Import;
    for (let back = 0; this.LA(back).startOffset >= start.startOffset; back--) {
      const previous = this.LA(back - 1);
      if (!this.at(t.Name, back)) {
        if (previous === start && tokenMatcher(start, t.ItemKeyword)) this.nameless = true;
        continue;
      }
      const isDeclared = isImport || previous === start || tokenMatcher(previous, t.ItemKeyword);
      const name = this.LA(back).image;
      if (this.lost.get(name)?.isDeclared !== true) this.lost.set(name, { error, isDeclared });
    }
  }

  readonly part: Rule<Part> = this.rule("part", () =>
    this.OR({
      ERR_MSG: declaration,
      DEF: [
        { ALT: (): Part => ({ import: this.SUBRULE(this.importing) }) },
        { ALT: (): Part => ({ item: this.SUBRULE(this.dim) }) },
        { ALT: (): Part => ({ item: this.SUBRULE(this.fn) }) },
        { ALT: (): Part => ({ item: this.SUBRULE(this.layer) }) },
        { ALT: (): Part => ({ item: this.SUBRULE(this.optimizer) }) },
        { ALT: (): Part => ({ item: this.SUBRULE(this.config) }) },
        { ALT: (): Part => ({ item: this.SUBRULE(this.map) }) },
        { ALT: (): Part => ({ item: this.SUBRULE(this.mixture) }) },
        { ALT: (): Part => ({ item: this.SUBRULE(this.upcycle) }) },
        { ALT: (): Part => ({ item: this.SUBRULE(this.test) }) },
      ],
    }),
  );

  /** `import { Linear, rope as rotary } from "std"`. */
  readonly importing: Rule<Import> = this.rule("importing", () => {
    const start = this.CONSUME(t.Import);
    this.CONSUME(t.LCurly);
    const names = this.commaList(this.importedName);
    this.CONSUME(t.RCurly, { ERR_MSG: "`,` or `}`" });
    this.CONSUME(t.From);
    const from = this.SUBRULE(this.string);
    return { kind: "import", names, from: from.value, fromSpan: from.span, span: this.since(start) };
  });

  readonly importedName: Rule<ImportedName> = this.rule("importedName", () => {
    const name = this.SUBRULE(this.name);
    const alias: Name | undefined = this.OPTION(() => {
      this.CONSUME(t.As);
      return this.SUBRULE2(this.name);
    });
    return { name, alias: alias ?? null };
  });
}
