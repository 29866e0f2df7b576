/**
 * The progress of a run on stderr: a few lines drawn over and over where that is a terminal; else plain lines, a hundred at most and one per
 * evaluation, so that a log of a long run stays short.
 *
 * ```ts
 * const progress = startTraining(steps, firstStep);
 * progress.show(record); // every record of the run's metrics, as it is written
 * progress.say("step 100: Once upon a time ..."); // above the lines
 * progress.end(); // leaves the last picture
 * ```
 */
import type {
  EvaluationRecord,
  LoadRecord,
  SampleRecord,
  StepRecord,
  TrainingRecord,
} from "../../../runtime/training/record.ts";
import { humanCount, type Paint, paintError } from "../../output.ts";
import { humanDuration, renderView } from "./view.ts";

export interface TrainingProgress {
  show(record: TrainingRecord): void;
  /** A text of its own, above what is drawn. */
  say(text: string): void;
  end(): void;
}

/** What it writes to; a terminal says how wide it is. */
export interface Screen {
  readonly isTTY?: boolean | undefined;
  readonly columns?: number | undefined;
  write(text: string): unknown;
}

/** At most so many drawings a second: more only flicker. */
const DRAWINGS = 12;
/** Lines of a log, beside evaluations. */
const MOST_LINES = 100;

/** `first`: the first step that this run does; `now` in milliseconds. */
export function startTraining(
  steps: number,
  first: number,
  screen: Screen = process.stderr,
  paint: Paint = paintError,
  now: () => number = () => performance.now(),
): TrainingProgress {
  const begun = now();
  const losses: number[] = [];
  let step: StepRecord | null = null;
  let load: LoadRecord | null = null;
  let evaluations: readonly [EvaluationRecord | null, EvaluationRecord | null] = [null, null];
  const isScreen = screen.isTTY === true;
  let [drawn, drawnAt] = [0, -Infinity];

  const secondsLeft = (at: StepRecord): number | null => {
    const done = at.step - first + 1;
    return done < 1 ? null : ((now() - begun) / 1000 / done) * (steps - at.step);
  };
  const clear = (): string => (drawn === 0 ? "" : `\u001b[${drawn}A\u001b[J`);
  const draw = (above: string): void => {
    const lines =
      step === null
        ? []
        : renderView(
            {
              step,
              steps,
              losses,
              secondsLeft: secondsLeft(step),
              evaluation: evaluations[0],
              before: evaluations[1],
              load,
            },
            // A full line makes some terminals begin another.
            Math.max(20, (screen.columns ?? 80) - 1),
            paint,
          );
    screen.write(`${clear()}${above}${lines.map((line) => `${line}\n`).join("")}`);
    [drawn, drawnAt] = [lines.length, now()];
  };
  const note = (record: TrainingRecord): boolean => {
    switch (record.kind) {
      case "step":
        step = record;
        losses.push(record.loss ?? NaN);
        return false;
      case "evaluation":
        evaluations = [record, evaluations[0]];
        return true;
      case "load":
        load = record;
        return false;
      case "sample":
      case "run":
        return false;
      default:
        return record satisfies never;
    }
  };
  const say = (text: string): void => (isScreen ? draw(`${text}\n`) : void screen.write(`${text}\n`));
  return {
    show(record) {
      if (record.kind === "sample") return say(describeSamples(record, paint));
      const isNews = note(record);
      if (isScreen) {
        if (isNews || now() - drawnAt >= 1000 / DRAWINGS || step?.step === steps) draw("");
        return;
      }
      const every = Math.max(1, Math.ceil(steps / MOST_LINES));
      const isTime =
        record.kind === "step" && (record.step % every === 0 || record.step === steps || record.step === first);
      if (isTime || isNews) screen.write(`${describe(record, steps, secondsLeft)}\n`);
    },
    say,
    end() {
      if (isScreen && step !== null) draw("");
      drawn = 0;
    },
  };
}

/** A line for each, on which what is not one is made visible. */
function describeSamples({ step, texts }: SampleRecord, paint: Paint): string {
  const line = (text: string): string => text.replaceAll("\n", "⏎").replaceAll(/\p{Cc}/gu, " ");
  return texts
    .map(({ prompt, text }) => `${paint.dim(`step ${step} writes`)} ${paint.bold(line(prompt))}${line(text)}`)
    .join("\n");
}

/** A record on one plain line. */
function describe(record: TrainingRecord, steps: number, left: (step: StepRecord) => number | null): string {
  if (record.kind === "evaluation") {
    const domains = record.domains.map(({ name, perplexity }) => `${name} ${perplexity?.toFixed(2) ?? "not finite"}`);
    return `step ${record.step}/${steps} perplexity ${domains.join(" ")}`;
  }
  if (record.kind !== "step") return "";
  const { step, loss, norm, rate, tokensPerSecond } = record;
  const seconds = left(record);
  return [
    `step ${step}/${steps}`,
    `loss ${loss?.toFixed(4) ?? "not finite"}`,
    `norm ${norm?.toFixed(3) ?? "not finite"}`,
    ...(rate === null || Number.isNaN(rate) ? [] : [`rate ${rate.toPrecision(3)}`]),
    `${humanCount(tokensPerSecond)} tokens/s`,
    ...(seconds === null || step === steps ? [] : [`${humanDuration(seconds)} left`]),
  ].join(" ");
}
