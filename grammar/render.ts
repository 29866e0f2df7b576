/**
 * Diagnostics as text for a terminal, in the manner of rustc: one sentence, then each labelled line with carets, then
 * notes and help. Labels may lie in several files; the primary one is marked `^`, the others `-`.
 */
import type { Diagnostic, Label } from "./diagnostic.ts";
import { checkOption, checkOptions, diagnosticRule, flag, needed, type Rules } from "./option.ts";
import { formatSpan, lineAndColumn } from "./place.ts";
import type { SourceFile } from "./span.ts";

interface Mark {
  readonly line: number;
  /** Zero-based, after tabs are widened. */
  readonly column: number;
  readonly width: number;
  readonly text: string;
  readonly primary: boolean;
}

type Style = "error" | "warning" | "bold" | "quiet" | "help";
type Paint = (style: Style, text: string) => string;

const codes: Readonly<Record<Style, string>> = { error: "1;31", warning: "1;33", bold: "1", quiet: "34", help: "36" };

interface RenderOptions {
  /** With the escape sequences of a terminal. */
  readonly color: boolean;
}

const RENDER_RULES: Rules<RenderOptions> = { color: needed(flag) };

/** Several lines, without a line break at the end. */
export function renderDiagnostic(diagnostic: Diagnostic, options: RenderOptions): string {
  checkOption("renderDiagnostic", "diagnostic", diagnostic, needed(diagnosticRule));
  checkOptions("renderDiagnostic", options, RENDER_RULES);
  const paint: Paint = (style, text) =>
    options.color && text !== "" ? `\u001b[${codes[style]}m${text}\u001b[0m` : text;
  const { code, severity, message, labels, notes, help } = diagnostic;
  const lastLine = Math.max(1, ...labels.map(({ span }) => lineAndColumn(span.file, span.start).line));
  const margin = " ".repeat(String(lastLine).length);
  return [
    `${paint(severity, `${severity}[${code}]`)}${paint("bold", `: ${printable(message)}`)}`,
    ...renderFiles(diagnostic, margin, paint),
    ...(labels.length > 0 && notes.length > 0 ? [`${margin} ${paint("quiet", "|")}`] : []),
    ...notes.map((note) => `${margin} ${paint("quiet", "=")} ${paint("bold", "note")}: ${indentRest(note, margin)}`),
    ...(help === null
      ? []
      : [`${margin} ${paint("quiet", "=")} ${paint("help", "help")}: ${indentRest(help, margin)}`]),
  ].join("\n");
}

/** Further lines of a note stand below its first word. */
const indentRest = (text: string, margin: string): string => printable(text).replaceAll("\n", `\n${margin}         `);

/** Characters that a terminal obeys instead of showing them, and those that turn the direction of writing. */
// oxlint-disable-next-line no-control-regex
const OBEYED = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g;

/** A name, or a text, of a stranger's may be of any length and of any characters; a message fits on a screen and only says something. */
const LONGEST_WORD = 200;
const LONGEST_TEXT = 1500;

function printable(text: string): string {
  const words = text.length <= LONGEST_WORD ? text : text.replaceAll(/[^\s`]{201,}/g, shortenWord);
  const whole = words.length <= LONGEST_TEXT ? words : `${words.slice(0, LONGEST_TEXT)}...`;
  return whole.replaceAll(OBEYED, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

const shortenWord = (word: string): string => `${word.slice(0, LONGEST_WORD - 50)}...${word.slice(-40)}`;

function renderFiles({ labels, severity }: Diagnostic, margin: string, paint: Paint): string[] {
  const byFile = new Map<SourceFile, Label[]>();
  for (const label of labels) byFile.set(label.span.file, [...(byFile.get(label.span.file) ?? []), label]);
  const rows: string[] = [];
  for (const [file, own] of byFile) {
    const pointer = rows.length === 0 ? "-->" : ":::";
    rows.push(
      `${margin}${paint("quiet", pointer)} ${printable(formatSpan(own[0]!.span))}`,
      `${margin} ${paint("quiet", "|")}`,
    );
    const marks = own.map((label) => placeMark(label, label === labels[0]));
    rows.push(...renderMarks(file, marks, margin, severity, paint));
  }
  return rows;
}

function placeMark({ span, text }: Label, primary: boolean): Mark {
  const { line, column } = lineAndColumn(span.file, span.start);
  const lineStart = span.start - column + 1;
  const lineEnd = span.file.text.indexOf("\n", lineStart);
  // A span over several lines is shown by its first.
  const end = Math.min(span.end, lineEnd === -1 ? span.file.text.length : lineEnd);
  const before = widenTabs(span.file.text.slice(lineStart, span.start));
  const width = Math.max(1, widenTabs(span.file.text.slice(span.start, end).trimEnd()).length);
  return { line, column: before.length, width, text, primary };
}

/** One character for one that is not shown, so that marks stay below what they mark. */
const widenTabs = (text: string): string => text.replaceAll("\t", "    ").replaceAll(OBEYED, "\uFFFD");

/** Each marked line once, each mark in a row of its own below it. */
function renderMarks(file: SourceFile, marks: Mark[], margin: string, severity: Style, paint: Paint): string[] {
  const source = file.text.split("\n");
  const rows: string[] = [];
  let shown = 0;
  let from = 0;
  for (const mark of marks.toSorted((a, b) => a.line - b.line || a.column - b.column)) {
    if (mark.line !== shown) {
      if (shown !== 0 && mark.line > shown + 1) rows.push(paint("quiet", "..."));
      const number = String(mark.line).padStart(margin.length);
      const line = widenTabs(source[mark.line - 1] ?? "").trimEnd();
      from = chooseStart(line, mark);
      const part = clip(line, from);
      rows.push(`${paint("quiet", `${number} |`)}${part === "" ? "" : ` ${part}`}`);
      shown = mark.line;
    }
    const column = Math.max(0, mark.column - from);
    const sign = (mark.primary ? "^" : "-").repeat(Math.max(1, Math.min(mark.width, LONGEST - column)));
    const words = mark.text === "" ? sign : `${sign} ${printable(mark.text)}`;
    rows.push(
      `${margin} ${paint("quiet", "|")} ${" ".repeat(column)}${paint(mark.primary ? severity : "quiet", words)}`,
    );
  }
  return rows;
}

/** Lines of a program are shorter; a config.json may be all in one line. */
const LONGEST = 160;

/** Where the shown part of a line begins, so that its first mark is in it. */
function chooseStart(line: string, mark: Mark): number {
  if (line.length <= LONGEST || mark.column < LONGEST / 2) return 0;
  return mark.column - LONGEST / 4;
}

function clip(line: string, from: number): string {
  const part = line.slice(from, from + LONGEST);
  return `${from > 0 ? `...${part.slice(3)}` : part}${from + LONGEST < line.length ? "..." : ""}`;
}
