/**
 * `npm run demo`: the main job on real input. Four small dense models, trained from one seed on different domains, become a
 * mixture of experts, which is trained for about a minute; all of them are scored on four domains. Four more become one with experts for attention
 * too. The trained mixture writes text. Every step but the tables is a command that anyone can type. `--picture FILE` also draws the scores.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { print, paint } from "../cli/output.ts";
import { runCommand } from "../cli/program.ts";
import { printScores, printShares, score } from "./demo-scores.ts";
import { drawScores } from "./draw-scores.ts";

const root = join(import.meta.dirname, "..");
const domains = ["prose", "code", "law", "math"] as const;
const sources = ["seed", "code", "law", "math"] as const;
const texts = { folder: join(root, "examples", "text"), domains, context: 256 };

/** Optimizer steps of 4 × 256 tokens: about a minute on two cores. */
const steps = 50;

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
  const picture = process.argv[2] === "--picture" ? process.argv[3] : undefined;
  const from = sources.flatMap((name) => ["--from", checkpoint(name)]);
  const [mixture, average, run] = ["mixture", "average", "run"].map((name) => join(work, name)) as [
    string,
    string,
    string,
  ];
  title("Four dense models become one mixture of experts (Branch-Train-MiX)");
  if ((await command("upcycle", "btx", ...from, "--out", mixture)) !== 0) return 1;
  title("What came out");
  if ((await command("inspect", mixture)) !== 0) return 1;
  title("Its routers are random so far: a minute of training");
  if ((await command("train", mixture, ...training(), "--out", run)) !== 0) return 1;
  title("The plain average of the four, to compare with");
  if ((await command("upcycle", "average", ...from, "--out", average)) !== 0) return 1;
  const trained = join(run, `step-${String(steps).padStart(8, "0")}`);
  title("Perplexity on 64 × 256 tokens of each domain; lower is better");
  const scores = await score(
    [
      ...sources.map((name) => ({ name, path: checkpoint(name) })),
      { name: "average", path: average },
      { name: "mixture", path: mixture, isMixture: true },
      { name: "mixture, trained", path: trained, isMixture: true },
    ],
    { ...texts, sequences: 64 },
  );
  print(printScores(scores, domains));
  title(
    "Which share of its tokens a text of each domain sends to each expert, two for every token, once the routers have learned",
  );
  print(printShares(scores.at(-1)!, domains, sources));
  if (picture !== undefined) writeFileSync(picture, drawScores(scores, domains, sources));
  if ((await attention()) !== 0) return 1;
  title("The trained mixture writes");
  for (const domain of domains) {
    const options = ["--prompt", prompts[domain], "--max-tokens", "48", "--temperature", "0.7", "--seed", "1"];
    if ((await command("generate", trained, ...options)) !== 0) return 1;
    print("");
  }
  print(
    `Done in ${Math.round((performance.now() - started) / 1000)} s. README.md says how to do the same with your own models.`,
  );
  return 0;
}

/** The routers are new and learn a hundred times as fast as what was trained before. */
function training(): readonly string[] {
  const data = domains.map((d) => `${d}=${relative(process.cwd(), join(texts.folder, `${d}.train.bin`))}`);
  return [
    ...["--data", ...data, "--steps", `${steps}`, "--batch", "4", "--rate", "1e-4", "--schedule", "warm_up(t, 5)"],
    ...["--set", "blocks[l].ffn.pick.rate=100*rate", "--evaluate", "0"],
  ];
}

/** Branch-Attend-Mix, of models whose attention and feed-forward stand side by side. */
async function attention(): Promise<number> {
  title("Attention as experts too (Branch-Attend-Mix), of four models with parallel blocks");
  const from = sources.flatMap((name) => ["--from", checkpoint("cohere", name)]);
  const [own, shared] = [join(work, "bam"), join(work, "bam-shared")];
  if ((await command("upcycle", "bam", ...from, "--out", own)) !== 0) return 1;
  if ((await command("upcycle", "bam", ...from, "--param", "shared=true", "--out", shared)) !== 0) return 1;
  const scores = await score(
    [
      { name: "seed", path: checkpoint("cohere", "seed") },
      { name: "keys and values per expert", path: own },
      { name: "keys and values shared", path: shared },
    ],
    { ...texts, sequences: 16 },
  );
  print(`\n${printScores(scores, domains)}`);
  print(
    "\nA fresh router gives each feed-forward a quarter of its strength, as the paper has it: this is where its training starts.",
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
async function command(...args: readonly string[]): Promise<number> {
  const shown = args.map((a) => (/[\s?*()]/.test(a) ? JSON.stringify(a) : a)).join(" ");
  print(paint.dim(`$ npx moec ${shown}`));
  return runCommand(args);
}
