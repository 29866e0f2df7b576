/** Lines up `=`, `<->` and trailing comments of neighbouring lines. */

export interface Line {
  readonly indent: number;
  readonly text: string;
  /** Where in `text` the `=` or `<->` stands that lines up with its neighbours', if there is one. */
  readonly operatorAt: number | null;
  /** Where a comment behind code begins. */
  readonly commentAt: number | null;
  /** Whether all brackets opened on the line are closed on it. */
  readonly closed: boolean;
}

/** Pads lines in runs: a line of another indentation, without the column, or behind an open bracket begins another run. */
export function alignLines(lines: readonly Line[]): readonly Line[] {
  return alignColumn(alignColumn(lines, "operatorAt"), "commentAt");
}

function alignColumn(lines: readonly Line[], column: "operatorAt" | "commentAt"): Line[] {
  const aligned: Line[] = [];
  for (let start = 0; start < lines.length;) {
    let end = start + 1;
    while (end < lines.length && belongTogether(lines[end - 1]!, lines[end]!, column)) end++;
    const run = lines.slice(start, end);
    const widest = Math.max(...run.map((line) => line[column] ?? 0));
    aligned.push(...run.map((line) => pad(line, column, widest)));
    start = end;
  }
  return aligned;
}

function belongTogether(above: Line, below: Line, column: "operatorAt" | "commentAt"): boolean {
  if (above[column] === null || below[column] === null) return false;
  if (above.indent !== below.indent || !above.closed) return false;
  return column === "commentAt" || signAt(above) === signAt(below);
}

/** `->` stands among `<->`. */
const signAt = ({ text, operatorAt }: Line): string => (text[operatorAt!] === "=" ? "=" : "->");

function pad(line: Line, column: "operatorAt" | "commentAt", width: number): Line {
  const at = line[column];
  if (at === null || at === width) return line;
  const text = line.text.slice(0, at) + " ".repeat(width - at) + line.text.slice(at);
  const commentAt = line.commentAt === null ? null : line.commentAt + width - at;
  return { ...line, text, [column]: width, commentAt };
}
