/**
 * `npm run bench`: every engine in turn, round after round, so that whatever the machine does meets all of them alike.
 * Options: `--engines a,b` (parts of names; also brings those that are slow to prepare), `--tasks a,b`, `--rounds N` (5),
 * `--out FOLDER` (out/bench), `--no-peers` (measure only what needs no installation).
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { cpus } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { drawChart } from "./chart.ts";
import { tasks } from "./engine.ts";
import { type EngineEntry, engineEntries, ROOFLINE } from "./engines.ts";
import { openGpu } from "./gpu.ts";
import { type RunningEngine, startEngine } from "./process.ts";
import { isQuiet, readIdleShare } from "./quiet.ts";
import { type Report, type Sample, printReport, summarise } from "./report.ts";

const ours = "moec (f32)";

const { values: options } = parseArgs({
  options: {
    engines: { type: "string" },
    tasks: { type: "string" },
    rounds: { type: "string", default: "5" },
    out: { type: "string", default: "out/bench" },
    "no-peers": { type: "boolean", default: false },
  },
});

await main();

async function main(): Promise<void> {
  const rounds = Number(options.rounds);
  const wanted = chooseEngines();
  if (wanted.some(isPeer)) installPeers();
  const engines = await startAll(wanted);
  const { samples, quiet } = await measureRounds(engines, rounds);
  for (const engine of engines) engine.stop();
  const { description } = await openGpu();
  const { state, results } = summarise(samples, quiet, ours);
  const machine = `${cpus()[0]?.model.trim() ?? "unknown processor"}, ${cpus().length} threads`;
  save({ machine, adapter: description, date: new Date().toISOString().slice(0, 10), rounds, state, results });
  process.exit(0);
}

function chooseEngines(): EngineEntry[] {
  const parts = options.engines?.split(",");
  return engineEntries.filter((entry) => {
    if (options["no-peers"] && isPeer(entry)) return false;
    if (entry.name === ROOFLINE) return true;
    return parts ? parts.some((part) => entry.name.includes(part)) : !entry.isSlowToPrepare;
  });
}

function isPeer({ file }: EngineEntry): boolean {
  return file === "onnxruntime.ts" || file === "llama-cpp.ts";
}

/** The other engines are half a gigabyte: not part of `npm ci`, and none of their install scripts is run. */
function installPeers(): void {
  const folder = fileURLToPath(new URL(".", import.meta.url));
  if (existsSync(join(folder, "node_modules/onnxruntime-node"))) return;
  console.log("installing the other engines into bench/node_modules");
  const { status } = spawnSync("npm", ["install", "--silent"], {
    cwd: folder,
    stdio: "inherit",
    shell: process.platform === "win32",
  });
  if (status !== 0) console.log("that failed: only what needs no installation is measured");
}

/** One after the other, since preparing is heavy. An engine that cannot start is named and left out. */
async function startAll(entries: readonly EngineEntry[]): Promise<RunningEngine[]> {
  const engines: RunningEngine[] = [];
  for (const entry of entries) {
    try {
      const engine = await startEngine(entry);
      console.log(`ready: ${engine.name} (first run and loading ${engine.prepareSeconds.toFixed(1)} s)`);
      engines.push(engine);
    } catch (error) {
      console.log(`left out: ${entry.name}: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
  return engines;
}

async function measureRounds(
  engines: readonly RunningEngine[],
  rounds: number,
): Promise<{ samples: Sample[]; quiet: Set<number> }> {
  const only = options.tasks?.split(",");
  const thermometer = engines.find((e) => e.name === ROOFLINE);
  if (!thermometer) throw new Error("the roofline could not be measured, so no number would mean anything");
  const samples: Sample[] = [];
  const checks: { readonly idle: number; readonly reading: number }[] = [];
  const check = async () => {
    checks.push({ idle: await readIdleShare(), reading: (await thermometer.measure("fma-peak")).value });
  };
  await check();
  for (let round = 0; round < rounds; round++) {
    for (const engine of engines) {
      for (const task of engine.tasks) {
        if (only && !only.includes(task) && engine !== thermometer) continue;
        const { value } = await engine.measure(task);
        samples.push({ round, engine: engine.name, runsOn: engine.runsOn, task, value });
      }
    }
    await check();
    const { idle, reading } = checks.at(-1) ?? { idle: 0, reading: 0 };
    console.log(
      `round ${round + 1} of ${rounds}: ${Math.round(idle * 100)} % idle, roofline ${Math.round(reading)} ${tasks["fma-peak"].unit}`,
    );
  }
  const best = Math.max(...checks.map((c) => c.reading));
  const isRoundQuiet = (round: number) => {
    const ends = checks.slice(round, round + 2);
    return isQuiet(
      ends.map((c) => c.idle),
      ends.map((c) => c.reading),
      best,
    );
  };
  return { samples, quiet: new Set(Array.from({ length: rounds }, (_, round) => round).filter(isRoundQuiet)) };
}

function save(report: Report): void {
  mkdirSync(options.out, { recursive: true });
  writeFileSync(join(options.out, "bench.json"), `${JSON.stringify(report, null, 2)}\n`);
  writeFileSync(join(options.out, "bench.svg"), drawChart(report));
  console.log(`\n${printReport(report)}\n\nwritten: ${join(options.out, "bench.json")}, bench.svg`);
}
