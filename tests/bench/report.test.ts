/** The arithmetic between the engines' measurements and what is published. */
import { describe, expect, test } from "vitest";
import { drawChart } from "../../bench/chart.ts";
import { median } from "../../bench/engine.ts";
import { isQuiet } from "../../bench/quiet.ts";
import { type Report, type Sample, printReport, summarise } from "../../bench/report.ts";

const sample = (round: number, engine: string, value: number): Sample => ({
  round,
  engine,
  value,
  runsOn: "gpu",
  task: "decode",
});

/** The machine halves its speed in the third round. */
const samples = [
  sample(0, "moec", 100),
  sample(0, "peer", 20),
  sample(1, "moec", 104),
  sample(1, "peer", 26),
  sample(2, "moec", 50),
  sample(2, "peer", 10),
];

describe("summarise", () => {
  test("leaves busy rounds out when two quiet ones remain", () => {
    const { state, results } = summarise(samples, new Set([0, 1]), "moec");
    expect(state).toBe("quiet");
    expect(results).toMatchObject([
      { engine: "moec", value: 102, low: 100, high: 104, moecTimes: null },
      { engine: "peer", value: 23, low: 20, high: 26, moecTimes: 4.5 },
    ]);
  });

  test("says busy and uses every round otherwise; ratios within a round survive the drift", () => {
    const { state, results } = summarise(samples, new Set([0]), "moec");
    expect(state).toBe("busy");
    expect(results).toMatchObject([{ value: 100 }, { value: 20, moecTimes: 5 }]);
  });

  test("gives no ratio where moec was not measured", () => {
    const { results } = summarise([sample(0, "peer", 20)], new Set(), "moec");
    expect(results).toMatchObject([{ engine: "peer", moecTimes: null }]);
  });
});

test("a round is quiet only when both ends were idle and as fast as the best", () => {
  expect(isQuiet([0.97, 0.95], [230, 225], 233)).toBe(true);
  expect(isQuiet([0.97, 0.5], [230, 225], 233)).toBe(false);
  expect(isQuiet([0.97, 0.95], [230, 120], 233)).toBe(false);
});

test("the median of an even number of values lies between the middle two", () => {
  expect(median([4, 1, 3, 2])).toBe(2.5);
  expect(median([3, 1, 2])).toBe(2);
});

describe("what is shown", () => {
  const { state, results } = summarise(samples, new Set([0, 1]), "moec");
  const report: Report = {
    machine: "a <machine>",
    adapter: "an adapter",
    date: "2026-01-01",
    rounds: 3,
    state,
    results,
  };

  test("the table has a row for each engine", () => {
    expect(printReport(report)).toContain("| peer | gpu | 23.0 | 20.0 to 26.0 | 4.50x |");
  });

  test("the chart draws the longest bar for the fastest and escapes what it quotes", () => {
    const svg = drawChart(report);
    const widths = [...svg.matchAll(/<rect x="360"[^>]* width="([\d.]+)"/g)].map((m) => Number(m[1]));
    expect(widths).toHaveLength(2);
    expect((widths[1] ?? 0) / (widths[0] ?? 1)).toBeCloseTo(23 / 102, 2);
    expect(svg).toContain("a &lt;machine>");
  });
});
