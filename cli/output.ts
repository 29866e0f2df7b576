/**
 * What commands print, in one manner: data on stdout, everything about it (diagnostics, progress, timings) on stderr, so
 * that a pipe gets the data alone. Colours only where a person looks: on a terminal, unless NO_COLOR says otherwise.
 */
import { stripVTControlCharacters } from "node:util";
import pc from "picocolors";
import type { Diagnostic, Label } from "../grammar/index.ts";
import { lineAndColumn, renderDiagnostic } from "../grammar/index.ts";

/** One line of data. */
export function print(text: string): void {
  process.stdout.write(`${text}\n`);
}

/** One line about the work. */
export function say(text: string): void {
  process.stderr.write(`${text}\n`);
}

/** The one document of a command's `--json` mode. */
export function printJson(value: unknown): void {
  print(JSON.stringify(value, null, 2));
}

export function hasColor(stream: NodeJS.WriteStream): boolean {
  const { NO_COLOR, FORCE_COLOR, TERM } = process.env;
  if (NO_COLOR !== undefined && NO_COLOR !== "") return false;
  // A pipe has no `isTTY` at all, whatever its type says.
  return (FORCE_COLOR !== undefined && FORCE_COLOR !== "0") || (stream.isTTY === true && TERM !== "dumb");
}

export type Paint = ReturnType<typeof pc.createColors>;

/** Colours for stdout, and for stderr. */
export const paint = pc.createColors(hasColor(process.stdout));
export const paintError = pc.createColors(hasColor(process.stderr));

/** More than this does not fit on a screen, and the first mistakes explain most of the rest. */
const MOST_SHOWN = 8;

/** Diagnostics on stderr, errors first, those of one kind at one place as one. */
export function showDiagnostics(list: readonly Diagnostic[]): void {
  const errors = list.filter((d) => d.severity === "error");
  const sorted = joinAlike([...errors, ...list.filter((d) => d.severity !== "error")]);
  const color = hasColor(process.stderr);
  say(
    sorted
      .slice(0, MOST_SHOWN)
      .map((d) => renderDiagnostic(d, { color }))
      .join("\n\n"),
  );
  if (sorted.length > MOST_SHOWN) say(`\nand ${sorted.length - MOST_SHOWN} more (--json lists all)`);
}

/** A rule that does not fit says so for every parameter that it gives, and nothing else of each: once is enough. */
function joinAlike(list: readonly Diagnostic[]): readonly Diagnostic[] {
  const placeOf = ({ code, message, labels, notes, help }: Diagnostic): string =>
    labels.length === 0
      ? message
      : JSON.stringify([
          code,
          labels.map(({ span, text }) => [span.file.path, span.start, span.end, text]),
          notes,
          help,
        ]);
  return [...Map.groupBy(list, placeOf).values()].map(([first, ...others]) =>
    others.length === 0
      ? first!
      : {
          ...first!,
          notes: [
            ...first!.notes,
            `and ${others.length} more of this here: ${others[0]!.message}${others.length > 1 ? ", ..." : ""}`,
          ],
        },
  );
}

/** A diagnostic without source texts, lines and columns counted from 1. */
export function diagnosticJson({ code, severity, message, notes, help, labels }: Diagnostic): object {
  return { code, severity, message, notes, help, labels: labels.map(labelJson) };
}

function labelJson({ span, text }: Label): object {
  const [start, end] = [lineAndColumn(span.file, span.start), lineAndColumn(span.file, span.end)];
  return {
    file: span.file.path,
    line: start.line,
    column: start.column,
    endLine: end.line,
    endColumn: end.column,
    text,
  };
}

/** Rows as columns two spaces apart; columns named in `right` are flush right. Colours take no width. */
export function table(rows: readonly (readonly string[])[], right: readonly number[] = []): string {
  const widths = (rows[0] ?? []).map((_, i) => Math.max(...rows.map((row) => width(row[i] ?? ""))));
  const cell = (text: string, i: number): string => {
    const fill = " ".repeat(Math.max(0, widths[i]! - width(text)));
    return right.includes(i) ? fill + text : text + fill;
  };
  return rows.map((row) => row.map(cell).join("  ").trimEnd()).join("\n");
}

const width = (text: string): number => stripVTControlCharacters(text).length;

/** `1.23 M` for counts: three digits that matter, and a decimal prefix. */
export function humanCount(n: number): string {
  return withUnit(n, 1000, ["", "k", "M", "G", "T", "P"]);
}

/** `46.7 B`: counts of parameters have their own letters. */
export function humanParameters(n: number): string {
  return withUnit(n, 1000, ["", "k", "M", "B", "T"]);
}

/** `4.00 MiB`. */
export function humanBytes(n: number): string {
  return `${withUnit(n, 1024, ["B", "KiB", "MiB", "GiB", "TiB"])}`;
}

function withUnit(n: number, base: number, units: readonly string[]): string {
  let [value, at] = [n, 0];
  while (Math.abs(value) >= base && at < units.length - 1) [value, at] = [value / base, at + 1];
  const digits = at === 0 ? (Number.isInteger(value) ? 0 : 2) : value >= 100 ? 0 : value >= 10 ? 1 : 2;
  return `${value.toFixed(digits)} ${units[at]}`.trim();
}

/** `12.3 ms`, `4.56 s`. */
export function humanTime(milliseconds: number): string {
  if (milliseconds < 1) return `${(milliseconds * 1000).toPrecision(3)} µs`;
  if (milliseconds < 1000) return `${milliseconds.toPrecision(3)} ms`;
  return `${(milliseconds / 1000).toPrecision(3)} s`;
}

export function plural(n: number, word: string): string {
  return `${n} ${word}${n === 1 ? "" : "s"}`;
}

export interface Progress {
  /** How much of the total is done, and words to show behind the bar. */
  readonly advance: (done: number, words?: string) => void;
  readonly end: () => void;
}

/** A bar on stderr where that is a terminal, nothing elsewhere. */
export function startProgress(label: string, total: number): Progress {
  if (!process.stderr.isTTY) return { advance: () => undefined, end: () => undefined };
  const draw = (done: number, words = `${done}/${total}`): void => {
    const filled = Math.round((24 * done) / Math.max(1, total));
    process.stderr.write(`\r${label} [${"=".repeat(filled)}${" ".repeat(24 - filled)}] ${words}`);
  };
  return { advance: draw, end: () => process.stderr.write("\r\u001b[K") };
}

/** `0..31`; `0, 2..30` for every other one; all of them where there is no rule. */
export function numberRange(numbers: readonly number[]): string {
  const [first = 0, second = first, ...more] = numbers;
  const step = second - first;
  const isEven = numbers.every((n, i) => n === first + i * step);
  if (!isEven || more.length === 0) return step === 1 ? `${first}..${second}` : numbers.join(", ");
  return step === 1 ? `${first}..${numbers.at(-1)}` : `${first}, ${second}..${numbers.at(-1)}`;
}
