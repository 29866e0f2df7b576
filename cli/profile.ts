/** `moec profile`: where the time of a prompt and of a decoded token goes, kernel by kernel. */
import type { Command } from "commander";
import type { Profile, ProfileRow } from "../runtime/profile.ts";
import { parseCount } from "./options.ts";
import { humanCount, humanTime, paint, print, printJson, table } from "./output.ts";
import { addSessionOptions, prepareAll, type SessionFlags, withSession } from "./session.ts";

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
      const { profileSession } = await import("../runtime/profile.ts");
      const prefill = await profileSession(session, {
        tokens: Math.min(
          promptTokens,
          session.mostTokens(() => 1),
        ),
        runs,
      });
      const decode = await profileSession(session, { tokens: 1, context: promptTokens, runs });
      const { adapter } = session.executor.device;
      if (options.json) return printJson({ checkpoint: folder, adapter, prefill, decode });
      const { ceilings } = prefill;
      print(`${adapter.name}: measured ceilings ${humanCount(ceilings.flops)}FLOP/s, ${humanCount(ceilings.bytes)}B/s`);
      showProfile(`prompt of ${prefill.sizes.T} tokens`, prefill);
      showProfile(`one token after ${promptTokens}`, decode);
    },
  );
}

function showProfile(title: string, { rows }: Profile): void {
  const total = rows.reduce((n, row) => n + row.microseconds, 0);
  const count = rows.reduce((n, row) => n + row.dispatches, 0);
  print(`\n${paint.bold(title)}: ${humanTime(total / 1000)} in ${count} dispatches`);
  const head = ["kernel", "dispatches", "time", "share", "FLOP/s", "B/s", "of ceiling", "origin"].map(paint.bold);
  print(table([head, ...rows.map(cells)], [1, 2, 3, 4, 5, 6]));
  print(`per layer: ${describeParts(rows)}`);
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
    percent(row.ofCeiling),
    row.origin ?? "",
  ];
}

/** `attn 4, mlp 2`: kernels of one layer by its part, in the order of their time; `#` marks what runs once per layer. */
function describeParts(rows: readonly ProfileRow[]): string {
  const inside = rows.filter((row) => row.label.includes("[#]"));
  const parts = Map.groupBy(inside, (row) => /\[#\]\.(\w+)/.exec(row.label)?.[1] ?? "layer");
  return [...parts].map(([part, own]) => `${part} ${own.length}`).join(", ");
}
