/** The whole file: edition, imports, declarations. The leaf of the rule classes, which alone analyses the grammar. */
import { EOF } from "chevrotain";
import type { Import, Item, Module, Name } from "../ast.ts";
import * as t from "../tokens.ts";
import type { ParseInput, Rule } from "./base.ts";
import { UpcycleRules } from "./upcycles.ts";

type ImportedName = Import["names"][number];
type Part = { readonly import: Import } | { readonly item: Item };

const declaration = "a declaration such as `fn` or `layer`";

export class MoeParser extends UpcycleRules {
  constructor(validate = false) {
    super(validate);
    this.performSelfAnalysis();
  }

  /** Parses one file; what went wrong is in `diagnostics`. */
  parse(input: ParseInput): Module {
    this.begin(input);
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
      this.MANY(() => this.guard(() => parts.push(this.SUBRULE(this.part)), t.keywords));
    } while (this.skipToDeclaration());
    return { edition, parts };
  });

  /** Reports what stands between declarations. False at the end of the file. */
  private skipToDeclaration(): boolean {
    if (this.at(EOF)) return false;
    const token = this.LA(1);
    this.unexpected(token, declaration, token, t.declarationWords);
    do this.skipToken();
    while (!this.at(EOF) && (this.onSameLine() || !this.atDeclaration()));
    return true;
  }

  readonly part: Rule<Part> = this.rule("part", () =>
    this.OR({
      ERR_MSG: declaration,
      DEF: [
        { ALT: (): Part => ({ import: this.SUBRULE(this.importing) }) },
        { ALT: (): Part => ({ item: this.SUBRULE(this.dim) }) },
        { ALT: (): Part => ({ item: this.SUBRULE(this.fn) }) },
        { ALT: (): Part => ({ item: this.SUBRULE(this.layer) }) },
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
