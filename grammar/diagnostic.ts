/**
 * Diagnostics are data: a stable code, one sentence, labelled places, and what to do. Stages collect them and go on;
 * nothing in `grammar/` or `compiler/` throws for a mistake in the user's program. Wording follows Tint's guide: lower
 * case, one sentence, no full stop, the second place is a label of its own.
 */
import type { Span } from "./span.ts";

export type Severity = "error" | "warning";

/** A place and what it has to do with the problem, e.g. "axis `D` is 48 here". */
export interface Label {
  readonly span: Span;
  readonly text: string;
}

export interface Diagnostic {
  /** `layer/kebab-case`, e.g. `shape/axis-mismatch`; each has an entry in ERRORS.md. */
  readonly code: string;
  readonly severity: Severity;
  /** One sentence, lower case, no full stop. */
  readonly message: string;
  /** The first label is the primary place. Empty only for problems outside any `.moe` file. */
  readonly labels: readonly Label[];
  /** Further facts: provenance of a size, accepted names. */
  readonly notes: readonly string[];
  /** What to do, as an imperative: "write `D -> F`", "did you mean `norm1`?". */
  readonly help: string | null;
}

/** Collects the diagnostics of one run of the front end. */
export class DiagnosticBag {
  readonly list: Diagnostic[] = [];

  get hasErrors(): boolean {
    return this.list.some((d) => d.severity === "error");
  }

  add(diagnostic: Diagnostic): void {
    this.list.push(diagnostic);
  }

  /** Not if it says what another says of the same place, as where one layer is like the next. */
  addOnce(diagnostic: Diagnostic): void {
    const { message, labels } = diagnostic;
    const [first] = labels;
    const isTold = this.list.some(
      (d) =>
        d.message === message &&
        d.labels[0]?.span.file === first?.span.file &&
        d.labels[0]?.span.start === first?.span.start,
    );
    if (!isTold) this.add(diagnostic);
  }

  error(
    code: string,
    message: string,
    labels: readonly Label[],
    help: string | null = null,
    notes: readonly string[] = [],
  ): void {
    this.add({ code, severity: "error", message, labels, notes, help });
  }

  warn(
    code: string,
    message: string,
    labels: readonly Label[],
    help: string | null = null,
    notes: readonly string[] = [],
  ): void {
    this.add({ code, severity: "warning", message, labels, notes, help });
  }
}

/**
 * A user's mistake met where no value can be returned (a checkpoint that does not fit, a device that is missing).
 * The command line renders its diagnostics on one screen and exits with 1; any other exception is a bug of ours (70).
 */
export class MoeError extends Error {
  readonly diagnostics: readonly Diagnostic[];

  constructor(diagnostics: readonly Diagnostic[] | Diagnostic) {
    const list = Array.isArray(diagnostics) ? (diagnostics as readonly Diagnostic[]) : [diagnostics as Diagnostic];
    super(list.map((d) => `${d.code}: ${d.message}`).join("\n"));
    this.name = "MoeError";
    this.diagnostics = list;
  }
}

/** Shorthand for the errors of the runtime and the command line, which mostly point at files, not at `.moe` text. */
export function failure(
  code: string,
  message: string,
  options: { help?: string; notes?: readonly string[]; labels?: readonly Label[] } = {},
): MoeError {
  return new MoeError({
    code,
    severity: "error",
    message,
    labels: options.labels ?? [],
    notes: options.notes ?? [],
    help: options.help ?? null,
  });
}
