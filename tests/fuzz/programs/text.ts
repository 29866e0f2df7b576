/** A case as text that a folder keeps: a line that says how it is run, then its graph. */
import { parseProgram } from "../../../compiler/graph/parse.ts";
import { printProgram } from "../../../compiler/graph/print.ts";
import type { Case } from "./generate.ts";
import { kinds } from "./values.ts";

export function printCase({ program, kind, whole, seed }: Case): string {
  return `# ${kind} ${whole ? "whole" : "pieces"} ${seed}\n${printProgram(program)}`;
}

/** Throws where the first line does not say it. Further lines that begin with `#` are comments. */
export function parseCase(text: string): Case {
  const [head = "", ...lines] = text.split("\n");
  const [, kindName, how, seed] = /^# (\w+) (whole|pieces) (\d+)$/.exec(head) ?? [];
  const kind = kinds.find((k) => k === kindName);
  if (kind === undefined) throw new SyntaxError(`not the first line of a case: ${head}`);
  const graph = lines.filter((line) => !line.startsWith("#")).join("\n");
  return { program: parseProgram(graph), kind, whole: how === "whole", seed: Number(seed) };
}
