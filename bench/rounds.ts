/** Engines measured in turns, round after round, so that whatever the machine does meets all of them alike; then a table, JSON, a chart. */
import { mkdirSync, writeFileSync } from "node:fs";
import { cpus } from "node:os";
import { join } from "node:path";
import { drawChart } from "./chart.ts";
import { type TaskName, tasks } from "./engine.ts";
import { type EngineEntry, ROOFLINE } from "./engines.ts";
import { openGpu } from "./gpu.ts";
import { type RunningEngine, startEngine } from "./process.ts";
import { isQuiet, readIdleShare } from "./quiet.ts";
import { type Report, type Sample, printReport, summarise } from "./report.ts";

export interface Rounds {
  readonly engines: readonly EngineEntry[];
  /** Of all that they measure; all by default. */
  readonly only?: readonly string[];
  readonly rounds: number;
  /** Name of moec's engine, to which the others are compared. */
  readonly ours: string;
  /** Folder and name of what is written. */
  readonly out: string;
  readonly name: string;
}

/** Measures, prints and writes. */
export async function runRounds({ engines: wanted, only, rounds, ours, out, name }: Rounds): Promise<Report> {
  const engines = await startAll(wanted);
  const { samples, quiet } = await measureRounds(engines, rounds, only);
  for (const engine of engines) engine.stop();
  const { description } = await openGpu();
  const { state, results } = summarise(samples, quiet, ours);
  const machine = `${cpus()[0]?.model.trim() ?? "unknown processor"}, ${cpus().length} threads`;
  const date = new Date().toISOString().slice(0, 10);
  const report = { machine, adapter: description, date, rounds, state, results };
  mkdirSync(out, { recursive: true });
  writeFileSync(join(out, `${name}.json`), `${JSON.stringify(report, null, 2)}\n`);
  writeFileSync(join(out, `${name}.svg`), drawChart(report));
  console.log(`\n${printReport(report)}\n\nwritten: ${join(out, `${name}.json`)}, ${name}.svg`);
  return report;
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

/** What the roofline reads before and after each round. */
const THERMOMETER: TaskName = "fma-peak";

async function measureRounds(
  engines: readonly RunningEngine[],
  rounds: number,
  only: readonly string[] | undefined,
): Promise<{ samples: Sample[]; quiet: Set<number> }> {
  const thermometer = engines.find((e) => e.name === ROOFLINE);
  if (!thermometer) throw new Error("the roofline could not be measured, so no number would mean anything");
  const samples: Sample[] = [];
  const checks: { readonly idle: number; readonly reading: number }[] = [];
  const check = async () => {
    checks.push({ idle: await readIdleShare(), reading: (await thermometer.measure(THERMOMETER)).value });
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
      `round ${round + 1} of ${rounds}: ${Math.round(idle * 100)} % idle, roofline ${Math.round(reading)} ${tasks[THERMOMETER].unit}`,
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
