/**
 * `npm run demo`: the main job on real input. Four small dense models, trained from one seed on different domains, become a
 * mixture of experts, four more one with experts for attention too; all of them are scored on four domains; a mixture writes text. Every step but the table is a
 * command that anyone can type.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { print, paint, startProgress, table } from "../cli/output.ts";
import { runCommand } from "../cli/program.ts";
import { loadTokens } from "../runtime/load/load-tokens.ts";
import { open, openDevice } from "../runtime/index.ts";

const root = join(import.meta.dirname, "..");
const domains = ["prose", "code", "law", "math"] as const;
const sources = ["seed", "code", "law", "math"] as const;
/** Sequences of this many tokens, and how many of them per text. */
const context = 256;
const sequences = 32;

/** How a text of each domain may begin. */
const prompts: Readonly<Record<(typeof domains)[number], string>> = {
  prose: "The following example shows how to",
  code: "def read_file(path):\n",
  law: "Permission is hereby granted, free of charge,",
  math: "Question: what is 12 + 30?\nAnswer:",
};

const started = performance.now();
const work = mkdtempSync(join(tmpdir(), "moec-demo-"));
process.exitCode = await main().finally(() => rmSync(work, { recursive: true, force: true }));

async function main(): Promise<number> {
  const from = sources.flatMap((name) => ["--from", checkpoint(name)]);
  const mixture = join(work, "mixture");
  const average = join(work, "average");
  title("Four dense models become one mixture of experts (Branch-Train-MiX)");
  if ((await run("upcycle", "btx", ...from, "--out", mixture)) !== 0) return 1;
  title("What came out");
  if ((await run("inspect", mixture)) !== 0) return 1;
  title("Their plain average, to compare with");
  if ((await run("upcycle", "average", ...from, "--out", average)) !== 0) return 1;
  title(`Perplexity on ${sequences} × ${context} tokens of each domain; lower is better`);
  await printPerplexities([
    ...sources.map((name) => ({ name, path: checkpoint(name) })),
    { name: "average", path: average },
    { name: "mixture", path: mixture },
  ]);
  print(
    "\nThe routers of the mixture are random: its experts are all there, and training would teach it when to ask which.",
  );
  title("Attention as experts too (Branch-Attend-Mix), of four models with parallel blocks");
  const parallel = sources.flatMap((name) => ["--from", checkpoint("cohere", name)]);
  const [own, shared] = [join(work, "bam"), join(work, "bam-shared")];
  if ((await run("upcycle", "bam", ...parallel, "--out", own)) !== 0) return 1;
  if ((await run("upcycle", "bam", ...parallel, "--param", "shared=true", "--out", shared)) !== 0) return 1;
  await printPerplexities([
    ...sources.map((name) => ({ name, path: checkpoint("cohere", name) })),
    { name: "keys and values per expert", path: own },
    { name: "keys and values shared", path: shared },
  ]);
  print(
    "\nA fresh router gives each feed-forward a quarter of its strength, as the paper has it: this is where its training starts.",
  );
  title("The mixture writes");
  for (const domain of domains) {
    if (
      (await run(
        "generate",
        mixture,
        "--prompt",
        prompts[domain],
        "--max-tokens",
        "48",
        "--temperature",
        "0.7",
        "--seed",
        "1",
      )) !== 0
    )
      return 1;
    print("");
  }
  print(
    `Done in ${Math.round((performance.now() - started) / 1000)} s. README.md says how to do the same with your own models.`,
  );
  return 0;
}

function checkpoint(...names: readonly string[]): string {
  return relative(process.cwd(), join(root, "examples", "checkpoints", ...names));
}

function title(text: string): void {
  print(`\n${paint.bold(text)}\n`);
}

/** Runs a command as the shell would, after showing it. */
async function run(...args: readonly string[]): Promise<number> {
  const shown = args.map((a) => (/[\s?]/.test(a) ? JSON.stringify(a) : a)).join(" ");
  print(paint.dim(`$ npx moec ${shown}`));
  return runCommand(args);
}

async function printPerplexities(models: readonly { readonly name: string; readonly path: string }[]): Promise<void> {
  const texts = await Promise.all(
    domains.map((d) => loadTokens(join(root, "examples", "text", `${d}.bin`), { format: "uint16" })),
  );
  const device = await openDevice();
  const bar = startProgress("scoring", models.length * domains.length);
  let done = 0;
  const rows: string[][] = [["model", ...domains]];
  for (const { name, path } of models) {
    const session = await open(path, { device, capacity: context, sequences: 2 });
    const row = [name];
    for (const ids of texts) {
      const batch = Array.from({ length: sequences }, (_, i) => ids.subarray(i * context, (i + 1) * context));
      const scores = (await session.score(batch)).flatMap((s) => [...s]);
      row.push(Math.exp(scores.reduce((a, b) => a + b, 0) / scores.length).toFixed(2));
      bar.advance(++done);
    }
    rows.push(row);
    session.close();
  }
  bar.end();
  device.close();
  print(table(rows, [1, 2, 3, 4]));
}
