/** The page of a run: all that the metrics say, one file that asks nobody for anything, whatever was or was not written yet. */
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { means, renderReport, writeReport } from "../../../cli/commands/train/page.ts";
import { roundTicks } from "../../../cli/page/chart.ts";
import { renderHeatMap } from "../../../cli/page/heat.ts";
import { formatRecord, type History } from "../../../runtime/training/record.ts";
import { expectFailure, MEMORY, withScratch } from "../../runtime/checkpoint/scratch.ts";
import { evaluationOf, loadOf, runOf, stepOf } from "../../runtime/training/records.ts";

const historyOf = (steps: number): History => ({
  runs: [runOf(), runOf({ step: 20 })],
  steps: Array.from({ length: steps }, (_, i) => stepOf(i + 1)),
  evaluations: [0, 20, 40].map((step) => evaluationOf(step)),
  loads: [10, 20, 30, 40].map((step) => loadOf(step)),
  samples: [20, 40].map((step) => ({
    kind: "sample",
    step,
    texts: [{ prompt: "Once <upon>", text: ` a time ${step}\n  there was` }],
  })),
});

const page = (history: History): string => renderReport({ name: "runs/one", history });

/** The numbers that charts carry. */
const chartsOf = (html: string): readonly { along: string; lines: { name: string; points: (number | null)[][] }[] }[] =>
  [...html.matchAll(/<script type=application\/json>(.*?)<\/script>/g)].map((m) => JSON.parse(m[1]!));

test("loss, perplexity per domain, norm, rate, terms, loads, settings and sources are all there", () => {
  const html = page(historyOf(40));
  const charts = chartsOf(html);
  expect(charts.map(({ lines }) => lines.map(({ name }) => name))).toEqual([
    ["loss"],
    ["prose", "code", "law"],
    ["norm"],
    ["rate"],
    ["balance"],
    ["tokens per s"],
  ]);
  const code = charts[1]!.lines[1]!.points;
  expect(code.map(([step]) => step)).toEqual([0, 20, 40]);
  expect(code[2]![1]).toBeCloseTo(evaluationOf(40).domains[1]!.perplexity!, 3);
  expect(html.match(/<figure class="heat">/g)).toHaveLength(4);
  for (const text of ["blocks[3].ffn.pick", "AdamW", "160,000", "8,192", "50.0 %", "40 <small>of 400</small>", "−"])
    expect(html).toContain(text);
  // Where the run was resumed.
  expect(html).toContain('class="mark"');
});

test("without a rate there is no chart of it", () => {
  const { steps, ...history } = historyOf(40);
  const names = chartsOf(page({ ...history, steps: steps.map((s) => ({ ...s, rate: null })) })).map(
    (c) => c.lines[0]!.name,
  );
  expect(names).toEqual(["loss", "prose", "norm", "balance", "tokens per s"]);
});

test("the first text that was written behind a prompt stands above the last, as it is", () => {
  const html = page(historyOf(40));
  const [first, last] = [20, 40].map((step) => html.indexOf(`<b>Once &#60;upon&#62;</b> a time ${step}\n  there was`));
  expect(first).toBeGreaterThan(0);
  expect(last).toBeGreaterThan(first!);
  expect(page({ ...historyOf(40), samples: [] })).not.toContain("What it writes");
});

describe("a page", () => {
  const cases: readonly (readonly [string, History])[] = [
    ["a whole run", historyOf(40)],
    ["one step", { ...historyOf(1), evaluations: [], loads: [], samples: [] }],
    ["a run that has not begun", { runs: [], steps: [], evaluations: [], loads: [], samples: [] }],
    [
      "numbers that are not finite",
      { ...historyOf(3), steps: [stepOf(1, { loss: null, norm: null }), stepOf(2, { loss: null })] },
    ],
    [
      "a domain that came later",
      { ...historyOf(3), evaluations: [{ ...evaluationOf(0), domains: [] }, evaluationOf(3)] },
    ],
    ["a long run", historyOf(5000)],
  ];

  test.each(cases)("of %s asks for nothing and shows no number that is none", (_, history) => {
    const html = page(history);
    expect(html).not.toMatch(/(?:src|href)\s*=|@import|url\(|https?:\/\/(?!www\.w3\.org\/2000\/svg")/);
    expect(html.replaceAll("Number.isNaN", "")).not.toMatch(/NaN|undefined|Infinity|\[object/);
  });

  test("shows names as they are, whatever is in them", () => {
    const name = '<script>alert("&")</script>';
    const domains = evaluationOf(1).domains.map((d) => ({ ...d, name: `${name}${d.name}` }));
    const html = page({
      ...historyOf(2),
      runs: [runOf({ model: name, settings: { [name]: name }, sources: [{ name, share: 1, tokens: 1, heldOut: 1 }] })],
      evaluations: [{ ...evaluationOf(1), domains }],
      loads: [{ ...loadOf(1), layers: [{ part: name, load: [1, 2] }] }],
    });
    expect(html).not.toContain(name);
    expect(chartsOf(html)[1]!.lines[0]!.name).toBe(`${name}prose`);
  });

  test("of many steps, layers and experts stays small", () => {
    const steps = Array.from({ length: 20_000 }, (_, i) => stepOf(i + 1));
    const loads = Array.from({ length: 300 }, (_, i) => loadOf(i + 1, 24, 64));
    expect(page({ ...historyOf(1), steps, loads }).length).toBeLessThan(3e6);
  });
});

test("a heat map has a cell per expert and time, as strong as the share, and one of its own for nothing", () => {
  const cellsOf = (shares: readonly (readonly number[])[]): Readonly<Record<string, string>> =>
    Object.fromEntries(
      [...renderHeatMap({ name: "a", shares }).matchAll(/<path class="(\w+)" d="([^"]*)"/g)].map((m) => [m[1]!, m[2]!]),
    );
  expect(
    cellsOf([
      [0.5, 0.5],
      [1, 0],
    ]),
  ).toEqual({ h6: "M0 0h1v1h-1zM0 1h1v1h-1z", h11: "M1 0h1v1h-1z", none: "M1 1h1v1h-1z" });
  const many = Array.from({ length: 1000 }, () => [0.25, 0.75]);
  expect(Object.values(cellsOf(many)).map((d) => d.match(/M/g)!.length)).toEqual([96, 96]);
});

test("a mean is of as many as are around, and of those alone that are finite", () => {
  expect(means([1, 2, 3])).toEqual([1, 2, 3]);
  const line = Array.from({ length: 400 }, (_, i) => i);
  expect(means(line)[200]).toBe(200);
  expect(means(line.map((v) => (v === 200 ? NaN : v)))[200]).toBe(200);
  expect(means([])).toEqual([]);
});

test("ticks are within their ends, a few, and whole where they have to be", () => {
  const number = fc.double({ min: -1e6, max: 1e6, noNaN: true });
  fc.assert(
    fc.property(number, fc.double({ min: 1e-6, max: 1e6, noNaN: true }), fc.boolean(), (from, spread, isWhole) => {
      const ticks = roundTicks(from, from + spread, isWhole);
      expect(ticks.length).toBeLessThanOrEqual(9);
      if (!isWhole) expect(ticks.length).toBeGreaterThanOrEqual(2);
      else expect(ticks.every((t) => Math.abs(t - Math.round(t)) < 1e-6)).toBe(true);
      const slack = 1e-9 * (Math.abs(from) + spread);
      for (const tick of ticks) expect(tick >= from - slack && tick <= from + spread + slack).toBe(true);
    }),
  );
});

test("the page of a run is written from its metrics, and not over what else is there", () =>
  withScratch(async (folder) => {
    const [metrics, out] = [join(folder, "metrics.jsonl"), join(folder, "report.html")];
    const { runs, steps } = historyOf(3);
    await writeFile(metrics, [...runs, ...steps].map(formatRecord).join(""));
    writeReport(out, metrics, "one");
    writeReport(out, metrics, "one");
    expect(await readFile(out, "utf8")).toBe(
      renderReport({ name: "one", history: { runs, steps, evaluations: [], loads: [], samples: [] } }),
    );
    await expectFailure(
      (async () => writeReport(metrics, metrics, "one"))(),
      "cli/cannot-write",
      "files that are read",
    );
  }, MEMORY));
