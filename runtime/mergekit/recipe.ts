/** A configuration of mergekit-moe as an `upcycle` declaration, one rule per thing that it says. */
import { format } from "../../grammar/format.ts";
import { keywords } from "../../grammar/tokens.ts";
import { type Architecture, sourcesOf } from "./architecture.ts";
import type { Expert, MergekitConfig } from "./config.ts";
import type { Gate } from "./gate.ts";
import { numberText } from "./number.ts";
import type { Setting } from "./settings.ts";

export interface Recipe {
  /** Of the upcycling. */
  readonly name: string;
  /** Of a `.moe` file, in the layout of `moec fmt`. */
  readonly text: string;
  /** As the configuration names them, in the order of the declaration. */
  readonly sources: readonly string[];
}

type Named = (source: string) => string;

/** `title` is what the upcycling is called after: the name of the file. */
export function writeRecipe(
  config: MergekitConfig,
  architecture: Architecture,
  gate: Gate,
  differing: readonly Setting[],
  title: string,
): Recipe {
  const sources = sourcesOf(config);
  const names = nameSources(sources);
  const named: Named = (source) => names.get(source)!;
  const name = identifier(title);
  const { experts, shared, perToken } = config;
  const settled = differing.map((setting) => `${setting.name}: ${setting.text}`);
  const settings = [...architecture.arguments, ...settled, `N: ${experts.length}`, `K: ${perToken}`];
  const rules = [
    ...experts.flatMap((expert, i) => expertRules(`experts[${i}]`, expert, named)),
    ...shared.flatMap((expert) => expertRules("shared", expert, named)),
    ...gate.rules,
  ];
  const text = [
    "edition 2026",
    "",
    `import { ${[...new Set([architecture.target, ...differing.flatMap((d) => d.layers)])].join(", ")} } from "std"`,
    "",
    `/// ${config.file.path.replaceAll("\\", "/").split("/").at(-1)!} of mergekit-moe: all but the feed-forwards from \`base\`, each feed-forward an expert.`,
    ...sources.map((source) => `/// ${named(source)}: ${source}`),
    ...(settled.length === 0
      ? []
      : [`/// The models differ in ${differing.map((d) => d.name).join(", ")}: as in \`base\`.`]),
    `upcycle ${name}(${sources.map((s) => `${named(s)}: model`).join(", ")}${rules.some((rule) => rule.includes("seed: seed")) ? ", seed = 1" : ""})`,
    `  -> ${architecture.target}(${settings.join(", ")})${gate.conditions.length === 0 ? "" : ` where ${gate.conditions.join(", ")}`} {`,
    "default = base",
    ...architecture.rules.map((rule) => `blocks[l].${rule}`),
    "blocks[l].ffn {",
    ...rules,
    "}",
    ...ignoreRules(config, sources, named),
    "}",
    "",
  ].join("\n");
  return { name, text: format({ path: `${name}.moe`, text }).text, sources };
}

const MATRICES = ["gate", "up", "down"] as const;

function expertRules(path: string, { source, deviation, scale }: Expert, named: Named): readonly string[] {
  const from = `${named(source.value)}.blocks[l].mlp`;
  const noisy = (what: string, by: number): string =>
    deviation === 0 ? what : `${what} + normal(std: ${numberText(by * deviation)}, seed: seed)`;
  const rule = `${path} = ${noisy(from, 1)}`;
  if (scale === 1) return [rule];
  return [rule, `${path}.down.w = ${noisy(`${numberText(scale)} * ${from}.down.w`, Math.abs(scale))}`];
}

/** What is left out is named as narrowly as can be: biases that the target has not are then still an error. */
function ignoreRules({ experts, shared }: MergekitConfig, sources: readonly string[], named: Named): readonly string[] {
  const [base, ...others] = sources;
  const isUsed = [...experts, ...shared].some((e) => e.source.value === base);
  return [
    ...(isUsed ? [] : MATRICES.map((matrix) => `ignore base.blocks[l].mlp.${matrix}.w`)),
    ...others.map((source) => `ignore ${named(source)}`),
  ];
}

/** Words that mean something in rules. */
const TAKEN: ReadonlySet<string> = new Set([...keywords, "base", "seed", "self", "normal", "uniform", "zeros", "pow"]);

/** The base is `base`, each other model what its path ends with. */
function nameSources([base, ...others]: readonly string[]): ReadonlyMap<string, string> {
  const names = new Map([[base!, "base"]]);
  const used = new Set(TAKEN);
  for (const source of others) {
    const plain = identifier(
      source
        .replace(/[\\/]+$/, "")
        .split(/[\\/]/)
        .at(-1)!,
    );
    const name = [plain, ...Array.from(others, (_, i) => `${plain}_${i + 2}`)].find((n) => !used.has(n))!;
    used.add(name);
    names.set(source, name);
  }
  return names;
}

/** Lower case, so that it is no setting such as `F`. */
function identifier(text: string): string {
  const plain = text
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, "_")
    .replace(/^_+|_+$/g, "");
  const word = /^[a-z]/.test(plain) ? plain : `model_${plain}`;
  return keywords.includes(word) ? `${word}_model` : word;
}
