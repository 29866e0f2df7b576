/** `moec diff`: two checkpoints by the paths of their parameters. Exit code 0: the same; 1: they differ, or a mistake. */
import type { Command } from "commander";
import {
  addSums,
  compareModels,
  type Compared,
  type Difference,
  emptySums,
  type Shape,
  summarise,
} from "../../runtime/upcycle/compare.ts";
import type { LoadedModel } from "../../runtime/model/model.ts";
import { openFolder } from "../load.ts";
import { parseNumber } from "../options.ts";
import { paint, plural, print, printJson, startProgress, table } from "../output.ts";

interface Options {
  readonly map?: string;
  readonly all?: true;
  readonly tolerance: number;
  readonly json?: true;
}

export function registerDiff(program: Command): void {
  program
    .command("diff")
    .description("compare two checkpoints parameter by parameter, whatever their layouts; exit code 1 when they differ")
    .argument("<a>", "folder of a checkpoint")
    .argument("<b>", "folder of another")
    .option("--map <file>", "a .moe file with maps of the checkpoints' families")
    .option(
      "--tolerance <x>",
      "values that differ by no more are the same, and so are then other dtypes",
      parseNumber(),
      0,
    )
    .option("--all", "show every path, not only groups of them")
    .option("--json", "print every path and group as JSON")
    .addHelpText(
      "after",
      "\nExit code: 0 when all parameters are the same, 1 when some differ.\n\nExample:\n  moec diff examples/checkpoints/seed examples/checkpoints/code",
    )
    .action(runDiff);
}

async function runDiff(first: string, second: string, options: Options): Promise<void> {
  const opened: LoadedModel[] = [];
  try {
    for (const folder of [first, second]) opened.push(await openFolder(folder, options.map));
    const [a, b] = opened as [LoadedModel, LoadedModel];
    const bar = startProgress("comparing", a.model.parameters.length);
    const all: Compared[] = [];
    for await (const one of compareModels(a, b)) {
      all.push(one);
      bar.advance(Math.min(all.length, a.model.parameters.length), one.path);
    }
    bar.end();
    const isSame = (one: Compared): boolean =>
      one.isSame || (options.tolerance > 0 && one.difference !== null && one.difference.largest <= options.tolerance);
    const differing = all.filter((one) => !isSame(one));
    if (options.json) {
      const groups = groupPaths(all, isSame).map(({ sums: _, ...group }) => group);
      printJson({ a: first, b: second, same: differing.length === 0, groups, paths: all.map(pathJson) });
    } else print(describe(all, differing, isSame, options.all === true));
    if (differing.length > 0) process.exitCode = 1;
  } finally {
    await Promise.all(opened.map(({ checkpoint }) => checkpoint.close()));
  }
}

interface Group {
  /** Paths with their numbers left out: `blocks[].attn.q.w`. */
  readonly path: string;
  readonly count: number;
  readonly same: number;
  readonly onlyInA: number;
  readonly onlyInB: number;
  readonly otherShape: number;
  readonly otherDtype: number;
  readonly difference: Difference | null;
  readonly sums: Compared["sums"];
}

function groupPaths(all: readonly Compared[], isSame: (one: Compared) => boolean): readonly Group[] {
  return [...Map.groupBy(all, ({ path }) => path.replace(/\[\d+\]/g, "[]"))].map(([path, members]) => {
    const sums = emptySums();
    const compared = members.filter((m) => m.difference !== null);
    for (const member of compared) addSums(sums, member.sums);
    const count = (test: (one: Compared) => boolean): number => members.filter(test).length;
    return {
      path,
      count: members.length,
      same: count(isSame),
      onlyInA: count((m) => m.b === null),
      onlyInB: count((m) => m.a === null),
      otherShape: count((m) => m.a !== null && m.b !== null && m.difference === null),
      otherDtype: count((m) => m.difference !== null && m.a!.dtype !== m.b!.dtype),
      difference: compared.length === 0 ? null : summarise(sums),
      sums,
    };
  });
}

const HEAD = ["path", "", "max |a-b|", "|a-b|/|a|", "cosine", "what"];

function describe(
  all: readonly Compared[],
  differing: readonly Compared[],
  isSame: (one: Compared) => boolean,
  everything: boolean,
): string {
  if (differing.length === 0) return `the same: ${plural(all.length, "parameter")}`;
  const rows = everything
    ? all.map((one) => [one.path, "", ...numbers(one.difference), isSame(one) ? "the same" : whatDiffers(one)])
    : groupPaths(all, isSame).map((g) => [
        g.path,
        g.count === 1 ? "" : `x${g.count}`,
        ...numbers(g.difference),
        whatDiffersInGroup(g),
      ]);
  return [
    table([HEAD.map(paint.bold), ...rows], [1, 2, 3, 4]),
    "",
    `${differing.length} of ${plural(all.length, "parameter")} differ`,
  ].join("\n");
}

function numbers(difference: Difference | null): readonly string[] {
  if (difference === null) return ["", "", ""];
  const { largest, relative, cosine } = difference;
  return [short(largest), short(relative), cosine.toFixed(6)];
}

const short = (x: number): string => (x === 0 ? "0" : x.toPrecision(3));

function whatDiffers({ a, b, difference }: Compared): string {
  if (a === null) return "only in b";
  if (b === null) return "only in a";
  if (difference === null) return `${shapeText(a)} in a, ${shapeText(b)} in b`;
  return a.dtype === b.dtype ? "values" : `${a.dtype} in a, ${b.dtype} in b`;
}

const shapeText = ({ axes }: Shape): string => `[${axes.map((axis) => axis.size).join(", ")}]`;

function whatDiffersInGroup({ count, same, onlyInA, onlyInB, otherShape, otherDtype }: Group): string {
  if (same === count) return "the same";
  const some = (n: number): string => (n === count ? "" : `${n} `);
  const values = count - same - onlyInA - onlyInB - otherShape - otherDtype;
  return [
    onlyInA === 0 ? [] : `${some(onlyInA)}only in a`,
    onlyInB === 0 ? [] : `${some(onlyInB)}only in b`,
    otherShape === 0 ? [] : `${some(otherShape)}of other shape`,
    otherDtype === 0 ? [] : `${some(otherDtype)}of other dtype`,
    values <= 0 ? [] : `${some(values)}values`,
  ]
    .flat()
    .join(", ");
}

function pathJson({ sums: _, isSame, ...one }: Compared): object {
  return { ...one, same: isSame };
}
