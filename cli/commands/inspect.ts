/** `moec inspect`: a model as a tree, with what each part costs. */
import { elementBytes } from "../../runtime/checkpoint/element-type.ts";
import type { Command } from "commander";
import type { Cost, LookAhead, OutputTime, Part } from "../../compiler/index.ts";
import { accountModel, describeTime } from "../../compiler/index.ts";
import { parseCount, TYPICAL_CONTEXT } from "../options.ts";
import { humanBytes, humanCount, humanParameters, numberRange, paint, print, printJson, table } from "../output.ts";
import { openSubject, type SubjectOptions } from "../subject.ts";

interface Options extends SubjectOptions {
  readonly depth?: number;
  readonly context: number;
  readonly json?: true;
}

export function registerInspect(program: Command): void {
  program
    .command("inspect")
    .description("show a model as a tree: shapes, parameters (all, and those one token uses), bytes, FLOPs, cache")
    .argument("<model>", "folder of a checkpoint, or .moe file with a config")
    .option("--config <name>", "which config of the file")
    .option("--map <file>", "a .moe file with the map of the checkpoint's family")
    .option("--depth <n>", "levels of the tree to show", parseCount)
    .option(
      "--context <n>",
      "length of a sequence, for attention and for choices among tokens",
      parseCount,
      TYPICAL_CONTEXT,
    )
    .option("--json", "print the tree as JSON")
    .addHelpText("after", "\nExample:\n  moec inspect examples/checkpoints/seed --depth 2")
    .action(runInspect);
}

async function runInspect(path: string, options: Options): Promise<void> {
  const subject = await openSubject(path, options);
  try {
    const { model, storage } = subject;
    const tree = accountModel(model, (parameter) => elementBytes(storage(parameter)), options.context);
    const stored = [...new Set(model.parameters.map((p) => storage(p.path)))].sort();
    const time = describeTime(model);
    if (options.json) {
      printJson({ model: model.name, storage: stored, context: options.context, tree: partJson(tree), outputs: time });
      return;
    }
    print(
      table(
        [
          ["part", "shape", "parameters", "active", "bytes", "FLOPs per token", "in attention", "cache per token"].map(
            paint.bold,
          ),
          ...rowsOf(tree, 0, options.depth ?? Infinity),
        ],
        [2, 3, 4, 5, 6, 7],
      ),
    );
    print(`\n${summarise(tree.cost, stored, options.context)}`);
    print(describeResults(time).join("\n"));
  } finally {
    await subject.close();
  }
}

function rowsOf(part: Part, level: number, depth: number): string[][] {
  const { cost } = part;
  const cells = [
    humanParameters(cost.parameters),
    cost.active === cost.parameters ? "" : humanParameters(cost.active),
    humanBytes(cost.bytes),
  ];
  const work = cost.flops === 0 ? "" : humanCount(cost.flops);
  const attention = cost.meanAttention === 0 ? "" : humanCount(cost.meanAttention);
  const cache = cost.cache === 0 ? "" : humanBytes(cost.cache);
  const row = [`${"  ".repeat(level)}${label(part)}`, describe(part), ...cells, work, attention, cache];
  if (level >= depth) return [row];
  // A layer with nothing but one weight is told on one line.
  const [only, ...more] = part.parts;
  if (only?.kind === "parameter" && more.length === 0) return [[row[0]!, `${part.type} ${only.type}`, ...row.slice(2)]];
  return [row, ...part.parts.flatMap((p) => rowsOf(p, level + 1, depth))];
}

function label({ path, kind, type, count, layers }: Part): string {
  const name = path.split(".").at(-1) ?? "";
  if (path === "") return paint.bold(type);
  if (kind === "stack") return `${name.replace(/\[#\d*\]$/, `[${numberRange(layers)}]`)} ×${count}`;
  return count > 1 ? `${name} ×${count}` : name;
}

const describe = ({ path, kind, type }: Part): string => (kind === "parameter" ? type : path === "" ? "" : type);

function summarise(cost: Cost, stored: readonly string[], context: number): string {
  const active = cost.active === cost.parameters ? "" : `, ${humanParameters(cost.active)} of them active per token`;
  return [
    `${humanParameters(cost.parameters)} parameters${active}; ${humanBytes(cost.bytes)} as ${stored.join(" and ")}`,
    `${humanCount(cost.flops)} FLOPs per token, ${humanCount(cost.products)} of them in products with parameters; in attention ${humanCount(cost.meanAttention)}, the mean over ${context} positions, ${humanCount(cost.attention)} at the last`,
    cost.kept === 0
      ? "No cache: nothing is kept of a sequence between steps"
      : `${humanBytes(cost.cache)} of cache per token of context; a sequence of ${context} keeps ${humanBytes(cost.kept)}`,
    "A row with ×N is the sum over its N layers or experts.",
  ].join("\n");
}

/** One line for each result and way of looking: losses are about all tokens anyway, and metrics are told in the JSON form. */
function describeResults(time: readonly OutputTime[]): string[] {
  const results = Map.groupBy(
    time.filter((o) => o.role === "result"),
    (o) => o.output,
  );
  return [...results].flatMap(([output, purposes]) => {
    const views = Map.groupBy(purposes, (o) => o.looksAhead.map(describeLook).join(", "));
    return [...views].map(([through, own]) => {
      const when = views.size === 1 ? "" : ` in ${own.map((o) => PURPOSES[o.purpose]).join(" and ")}`;
      return through === ""
        ? `${output} looks at no later token${when}`
        : `${output} looks at later tokens${when}, through ${through}`;
    });
  });
}

const PURPOSES = { evaluate: "evaluation", train: "training", generate: "generation" } as const;

const describeLook = ({ expression, layer, place }: LookAhead): string =>
  `\`${expression}\`${layer === null ? "" : ` in the ${layer}`}${place === null ? "" : ` (${place})`}`;

function partJson({ parts, ...part }: Part): object {
  return { ...part, parts: parts.map(partJson) };
}
