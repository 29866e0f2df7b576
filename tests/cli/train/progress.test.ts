/** Progress of training: a picture that fits its terminal and is drawn in place, or a log of plain lines. */
import fc from "fast-check";
import pc from "picocolors";
import { stripVTControlCharacters } from "node:util";
import { describe, expect, test } from "vitest";
import { startTraining } from "../../../cli/commands/train/progress.ts";
import { drawCurve, humanDuration, renderView, type View } from "../../../cli/commands/train/view.ts";
import { evaluationOf, loadOf, runOf, stepOf } from "../../runtime/training/records.ts";

const plain = pc.createColors(false);
const colored = pc.createColors(true);

const viewAt = (step: number): View => ({
  step: stepOf(step),
  steps: 400,
  losses: Array.from({ length: step }, (_, i) => stepOf(i + 1).loss!),
  secondsLeft: 192,
  evaluation: evaluationOf(step),
  before: evaluationOf(step - 20),
  load: loadOf(step),
});

const ESCAPE = "\u001b";

/** What a terminal shows after all that was written to it: only the two sequences that progress uses. */
function screenOf(written: string): string {
  const lines = [""];
  for (const [at, part] of written.split(ESCAPE).entries()) {
    const [, up, rest] = at === 0 ? [null, undefined, part] : /^\[(?:(\d+)A|J)([^]*)$/.exec(part)!;
    if (up !== undefined) {
      lines.length -= Number(up);
      lines[lines.length - 1] = "";
    }
    const [first = "", ...more] = rest!.split("\n");
    lines[lines.length - 1] = `${lines.at(-1)}${first}`;
    lines.push(...more);
  }
  return lines.join("\n");
}

test("a picture has how far it is, the loss with its curve, perplexity per domain, and loads", () => {
  expect(renderView(viewAt(300), 120, plain).join("\n")).toMatchInlineSnapshot(`
    "step 300 of 400 ━━━━━━━━━━━━━━━━━━━━━─────── 75 %   3 min 12 s left   2.56 k tokens/s
    loss 3.144 █▇▆▅▅▄▄▃▃▃▂▂▂▂▂▂▂▂▁▁▁▁▁▁▁▁▁▁▁▁▁▁   loss term 0.010   norm 0.96   rate 0.00023
    perplexity   prose 27.76 ↓ 0.19   code 11.29 ↓ 0.08   law 12.47 ↓ 0.08   at step 300
    experts   ▅█▂▄ ▇▄▁▆ █▂▅· ▅▁▇▆"
  `);
});

test("without a rate, or with numbers that are not finite, it says so", () => {
  const step = { ...stepOf(3), rate: null, loss: null, norm: null };
  const [, line] = renderView({ ...viewAt(3), step, losses: [NaN, NaN] }, 120, plain);
  expect(line).toBe("loss not finite    loss term 0.028   norm not finite");
});

test("no line is wider than the terminal, with colours or without, whatever the names", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 20, max: 200 }),
      fc.integer({ min: 1, max: 400 }),
      fc.string(),
      (width, step, name) => {
        const domains = evaluationOf(step).domains.map((d) => ({
          ...d,
          name: `${name.replaceAll("\n", "")}長い${d.name}`,
        }));
        const view = { ...viewAt(step), evaluation: { ...evaluationOf(step), domains }, load: loadOf(step, 40, 64) };
        const lines = renderView(view, width, plain);
        for (const line of lines)
          expect([...line].length + (line.match(/[長い]/g)?.length ?? 0)).toBeLessThanOrEqual(width);
        expect(renderView(view, width, colored).map(stripVTControlCharacters)).toEqual(
          lines.map(stripVTControlCharacters),
        );
      },
    ),
  );
});

test("a curve has a column per part, from the least to the greatest, and takes what is not finite", () => {
  expect(drawCurve([8, 7, 6, 5, 4, 3, 2, 1], 8)).toBe("█▇▆▅▄▃▂▁");
  expect(drawCurve([4, 4, 0, 0], 2)).toBe("█▁");
  expect(drawCurve([1, NaN, 2], 5)).toBe("▁█");
  expect(drawCurve([3, 3], 5)).toBe("▁▁");
  expect(drawCurve([], 5)).toBe("");
});

test.each([
  [0, "0 s"],
  [45.4, "45 s"],
  [60, "1 min"],
  [192, "3 min 12 s"],
  [3600 * 2 + 300, "2 h 5 min"],
  [86_400 + 3600 * 4 + 59, "1 d 4 h"],
])("%d seconds are %s", (seconds, words) => expect(humanDuration(seconds)).toBe(words));

describe("on a terminal", () => {
  const run = (columns: number): { written: () => string; progress: ReturnType<typeof startTraining> } => {
    const written: string[] = [];
    let time = 0;
    const screen = { isTTY: true, columns, write: (text: string) => written.push(text) };
    const progress = startTraining(40, 1, screen, plain, () => (time += 1000));
    return { written: () => written.join(""), progress };
  };

  test("one picture is left of a whole run, and what was said stays above it", () => {
    const { written, progress } = run(100);
    progress.show(runOf({ steps: 40 }));
    for (let step = 1; step <= 40; step++) {
      progress.show(stepOf(step));
      if (step === 20) progress.say("a sample of text");
      if (step % 20 === 0) progress.show(evaluationOf(step));
    }
    progress.end();
    const lines = screenOf(written()).split("\n");
    expect(lines[0]).toBe("a sample of text");
    expect(lines.slice(1).map((line) => line.slice(0, 10))).toEqual(["step 40 of", "loss 4.941", "perplexity", ""]);
  });

  test("what comes fast is not drawn each time", () => {
    const written: string[] = [];
    const screen = { isTTY: true, columns: 80, write: (text: string) => written.push(text) };
    const progress = startTraining(1000, 1, screen, plain, () => 0);
    for (let step = 1; step <= 999; step++) progress.show(stepOf(step));
    expect(written).toHaveLength(1);
    progress.show(stepOf(1000));
    expect(written).toHaveLength(2);
  });
});

describe("elsewhere", () => {
  const log = (steps: number, first = 1): readonly string[] => {
    const written: string[] = [];
    const progress = startTraining(steps, first, { write: (text) => written.push(text) }, plain, () => 0);
    for (let step = first; step <= steps; step++) progress.show(stepOf(step));
    progress.show(evaluationOf(steps));
    progress.say("done");
    progress.end();
    return written;
  };

  test("there are plain lines, a hundred or so however long the run", () => {
    expect(log(3)).toMatchInlineSnapshot(`
      [
        "step 1/3 loss 6.9832 norm 2.763 rate 0.0000500 2.56 k tokens/s 0 s left
      ",
        "step 2/3 loss 6.9588 norm 2.725 rate 0.000100 2.56 k tokens/s 0 s left
      ",
        "step 3/3 loss 6.9195 norm 2.681 rate 0.000150 2.56 k tokens/s
      ",
        "step 3/3 perplexity prose 71.04 code 28.88 law 31.92
      ",
        "done
      ",
      ]
    `);
    expect(log(5000).length).toBeLessThan(110);
    expect(log(5000).join("")).not.toContain(ESCAPE);
    expect(log(5000, 4999)[0]).toContain("step 4999/5000");
  });
});
