/** `moec profile`: where the time of a prompt and of a decoded token goes, kernel by kernel. */
import type { Command } from "commander";
import type { LayerDispatches, PartDispatches } from "../../runtime/measure/dispatches.ts";
import { countDispatches } from "../../runtime/measure/dispatches.ts";
import type { Profile, ProfileRow } from "../../runtime/measure/profile.ts";
import { parseCount } from "../options.ts";
import { humanCount, humanTime, numberRange, paint, print, printJson, table } from "../output.ts";
import { addSessionOptions, prepareAll, type SessionFlags, withSession } from "../session.ts";

interface Options extends SessionFlags {
  readonly promptTokens: number;
  readonly tokens: number;
  readonly json?: true;
}

export function registerProfile(program: Command): void {
  addSessionOptions(program.command("profile"))
    .description("time every kernel of a prompt's step and of a decoding step, beside what the device could reach")
    .option("--prompt-tokens <n>", "tokens of the prompt, and of context while decoding", parseCount, 256)
    .option("--tokens <n>", "steps to time; each kernel's median is shown", parseCount, 5)
    .option("--json", "print the profiles as JSON")
    .addHelpText("after", "\nExample:\n  moec profile examples/checkpoints/seed --prompt-tokens 128")
    .action(runProfile);
}

async function runProfile(folder: string, options: Options): Promise<void> {
  const { promptTokens, tokens: runs } = options;
  const needs = { capacity: promptTokens + 1, sequences: 1 };
  await withSession(
    folder,
    options,
    () => needs,
    async (session) => {
      await prepareAll(session);
      const { profileSession } = await import("../../runtime/measure/profile.ts");
      const prefill = await profileSession(session, { tokens: promptTokens, runs });
      const decode = await profileSession(session, { tokens: 1, context: promptTokens, runs });
      const { adapter } = session.executor.device;
      const [prompt, token] = [prefill, decode].map(({ entry }) => countDispatches(session.executor.plan, entry));
      const layers = compareDispatches(prompt!, token!);
      if (options.json) return printJson({ checkpoint: folder, adapter, prefill, decode, layers });
      const { roofline } = prefill;
      print(`${adapter.name}: measured roofline ${humanCount(roofline.flops)}FLOP/s, ${humanCount(roofline.bytes)}B/s`);
      showProfile(`prompt of ${prefill.sizes.T} tokens`, prefill);
      showProfile(`one token after ${promptTokens}`, decode);
      showDispatches(layers);
    },
  );
}

function showProfile(title: string, { rows }: Profile): void {
  const total = rows.reduce((n, row) => n + row.microseconds, 0);
  const count = rows.reduce((n, row) => n + row.dispatches, 0);
  print(`\n${paint.bold(title)}: ${humanTime(total / 1000)} in ${count} dispatches`);
  const head = ["kernel", "dispatches", "time", "share", "FLOP/s", "B/s", "of roofline", "origin"].map(paint.bold);
  print(table([head, ...rows.map(cells)], [1, 2, 3, 4, 5, 6]));
}

function cells(row: ProfileRow): string[] {
  const percent = (x: number): string => `${(100 * x).toFixed(1)} %`;
  const rates = [row.flopsPerSecond, row.bytesPerSecond].map((n) => (n === 0 ? "" : humanCount(n)));
  return [
    row.label,
    String(row.dispatches),
    humanTime(row.microseconds / 1000),
    percent(row.share),
    ...rates,
    percent(row.ofRoofline),
    row.origin ?? "",
  ];
}

/** What the parts of a layer take of an entry for a prompt and of one for a token, and what a mixture should. */
function showDispatches(rows: readonly DispatchRow[]): void {
  if (rows.length === 0) return;
  print(`\n${paint.bold("dispatches of a layer")}`);
  const head = ["layers", "part", "prompt", "one token", ""].map(paint.bold);
  const notes = (row: DispatchRow): string =>
    [row.hasExperts && !row.keepsState ? "experts: the aim is 6 and 3" : "", row.keepsState ? "keeps states" : ""]
      .filter(Boolean)
      .join("; ");
  const cellsOf = (row: DispatchRow): string[] => [
    `${row.stack}[${numberRange(row.layers)}]`,
    row.part,
    String(row.prefill),
    String(row.decode),
    notes(row),
  ];
  print(table([head, ...rows.map(cellsOf)], [2, 3]));
}

interface DispatchRow extends Omit<LayerDispatches, "parts">, Omit<PartDispatches, "dispatches"> {
  readonly prefill: number;
  readonly decode: number;
}

/** Both entries run the same layers; a part that one of them has not takes 0 there. */
function compareDispatches(
  prefill: readonly LayerDispatches[],
  decode: readonly LayerDispatches[],
): readonly DispatchRow[] {
  return prefill.flatMap(({ stack, layers, parts }): DispatchRow[] => {
    const others = decode.find((d) => d.stack === stack && d.layers[0] === layers[0])?.parts ?? [];
    const names = [...new Set([...parts, ...others].map((p) => p.part))];
    return names.map((part) => {
      const [own, other] = [parts, others].map((all) => all.find((p) => p.part === part));
      return {
        stack,
        layers,
        part,
        prefill: own?.dispatches ?? 0,
        decode: other?.dispatches ?? 0,
        hasExperts: own?.hasExperts === true || other?.hasExperts === true,
        keepsState: own?.keepsState === true || other?.keepsState === true,
      };
    });
  });
}
