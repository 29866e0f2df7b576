/** What may come of a stranger's input: it is taken, or refused with one screen that says where. Anything else is a finding. */
import { readFileSync } from "node:fs";
import { type Diagnostic, MoeError, renderDiagnostic } from "../../grammar/index.ts";
import type { Bench, Input } from "./kind.ts";

export interface Finding {
  /** The same for inputs that fail in the same way. */
  readonly signature: string;
  readonly detail: string;
}

export type Outcome = { readonly kind: "taken" | "refused" } | ({ readonly kind: "finding" } & Finding);

/** Codes that are explained. */
const explained = new Set(
  [
    ...readFileSync(new URL("../../ERRORS.md", import.meta.url), "utf8").matchAll(/^#+ `?([a-z]+\/[a-z0-9-]+)`?$/gm),
  ].map(([, code]) => code),
);

const MOST_LINES = 60;
const MOST_CHARACTERS = 8000;

export async function judge(bench: Bench, input: Input): Promise<Outcome> {
  let diagnostics: readonly Diagnostic[];
  try {
    diagnostics = await bench.run(input);
  } catch (error) {
    if (!(error instanceof MoeError)) return { kind: "finding", ...describe(error) };
    diagnostics = error.diagnostics;
    if (diagnostics.length === 0) return finding("an error without a diagnostic", "");
  }
  for (const diagnostic of diagnostics.slice(0, 3)) {
    const problem = findFault(diagnostic, input.text);
    if (problem !== null) return finding(`${diagnostic.code}: ${problem}`, JSON.stringify(diagnostic).slice(0, 2000));
  }
  return { kind: diagnostics.some((d) => d.severity === "error") ? "refused" : "taken" };
}

const finding = (signature: string, detail: string): Outcome => ({ kind: "finding", signature, detail });

/** What is wrong with a diagnostic itself. */
function findFault(diagnostic: Diagnostic, text: string): string | null {
  const { code, message, labels, notes } = diagnostic;
  if (!explained.has(code)) return "has no entry in ERRORS.md";
  // A path, a tensor or a key in the message is a place too.
  if (labels.length === 0 && notes.length === 0 && !/`|\//.test(message)) return "does not say where";
  // What the input says itself may be quoted.
  const odd = /\bNaN\b|\bundefined\b|\[object /.exec(message)?.[0];
  if (odd !== undefined && !text.includes(odd)) return `says ${odd}`;
  const shown = renderDiagnostic(diagnostic, { color: false });
  if (shown.length > MOST_CHARACTERS || shown.split("\n").length > MOST_LINES) return "fills more than a screen";
  return null;
}

function describe(error: unknown): Finding {
  if (!(error instanceof Error)) return { signature: `thrown: ${String(error)}`, detail: "" };
  const stack = String(error.stack);
  // Deep recursion ends anywhere: its place says nothing.
  const place =
    error instanceof RangeError && /call stack/.test(error.message)
      ? ""
      : (/\/((?:grammar|compiler|runtime|cli|tests\/fuzz)\/[\w/.-]+\.ts):\d+/.exec(stack)?.[1] ?? "");
  const message = error.message
    .split("\n")[0]!
    .replaceAll(/`[^`]*`|"[^"]*"|'[^']*'|\d+/g, "_")
    .slice(0, 120);
  return { signature: `${error.name}: ${message} ${place}`.trim(), detail: stack.slice(0, 2000) };
}
