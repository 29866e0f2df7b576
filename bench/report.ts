/** From measurements to what is shown: medians, ratios, a table, JSON. Pure. */
import { type TaskName, median, tasks } from "./engine.ts";

/** One task on one engine in one round. */
export interface Sample {
  readonly round: number;
  readonly engine: string;
  readonly runsOn: "gpu" | "cpu";
  readonly task: TaskName;
  readonly value: number;
}

export interface Result {
  readonly engine: string;
  readonly runsOn: "gpu" | "cpu";
  readonly task: TaskName;
  readonly unit: string;
  /** Median over the rounds that count, and their extremes. */
  readonly value: number;
  readonly low: number;
  readonly high: number;
  /** moec's value over this one, when moec measures the task; of each round, then the median: drift cancels. */
  readonly moecTimes: number | null;
}

export interface Report {
  readonly machine: string;
  readonly adapter: string;
  readonly date: string;
  readonly rounds: number;
  /** `busy`: too few quiet rounds, all were used; the numbers are then only good for their ratios. */
  readonly state: "quiet" | "busy";
  readonly results: readonly Result[];
}

/** Uses the quiet rounds when there are at least two, else all. `ours` is the name of moec's engine. */
export function summarise(
  samples: readonly Sample[],
  quietRounds: ReadonlySet<number>,
  ours: string,
): { state: Report["state"]; results: Result[] } {
  const state = quietRounds.size >= 2 ? "quiet" : "busy";
  const used = state === "quiet" ? samples.filter((s) => quietRounds.has(s.round)) : samples;
  const valueOf = (engine: string, task: TaskName, round: number) =>
    used.find((s) => s.engine === engine && s.task === task && s.round === round)?.value;
  const groups = Map.groupBy(used, (s) => `${s.task}\0${s.engine}`);
  const results = [...groups.values()].flatMap((group) => {
    const [first] = group;
    if (!first) return [];
    const { engine, runsOn, task } = first;
    const values = group.map((s) => s.value);
    const ratios = group.flatMap((s) => (valueOf(ours, task, s.round) ?? Number.NaN) / s.value).filter(Number.isFinite);
    const moecTimes = engine === ours || ratios.length === 0 ? null : median(ratios);
    return [
      {
        engine,
        runsOn,
        task,
        unit: tasks[task].unit,
        value: median(values),
        low: Math.min(...values),
        high: Math.max(...values),
        moecTimes,
      },
    ];
  });
  return { state, results };
}

/** A table in Markdown for each task, in the order of `tasks`. */
export function printReport(report: Report): string {
  const head = `${report.machine}; ${report.adapter}; ${report.rounds} rounds, machine ${report.state}; ${report.date}`;
  const sections = (Object.keys(tasks) as TaskName[]).flatMap((task) => {
    const rows = report.results.filter((r) => r.task === task);
    if (rows.length === 0) return [];
    const lines = rows.map((r) => {
      const ratio = r.moecTimes === null ? "" : `${r.moecTimes.toPrecision(3)}x`;
      return `| ${r.engine} | ${r.runsOn} | ${printNumber(r.value)} | ${printNumber(r.low)} to ${printNumber(r.high)} | ${ratio} |`;
    });
    return [
      `\n${tasks[task].title}, in ${tasks[task].unit}\n`,
      "| engine | on | median | range | moec is |",
      "| --- | --- | ---: | ---: | ---: |",
      ...lines,
    ];
  });
  return [head, ...sections].join("\n");
}

export function printNumber(value: number): string {
  return value >= 1000 ? Math.round(value).toString() : value.toPrecision(3);
}
