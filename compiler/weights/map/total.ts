/**
 * A map is total: every element of every parameter comes from exactly one tensor. Checked by counting runs, not elements:
 * the runs of a parameter must tile it.
 */
import type { DiagnosticBag } from "../../../grammar/diagnostic.ts";
import type { Span } from "../../../grammar/span.ts";
import { withVariables } from "../../graph/path.ts";
import type { Model } from "../../language/model/model.ts";
import type { TensorEntry } from "./tensors.ts";
import { tile } from "./tile.ts";

/** Reports parameters (or parts of them) that no rule gives, and those given twice. */
export function checkTotal(model: Model, entries: readonly TensorEntry[], bag: DiagnosticBag, at: Span): void {
  const runs = new Map<string, { start: number; end: number; span: Span; tensor: string }[]>();
  for (const entry of entries) {
    for (const piece of entry.pieces) {
      const length = piece.sizes.reduce((a, b) => a * b, 1);
      const list = runs.get(piece.path) ?? [];
      list.push({ start: piece.target, end: piece.target + length, span: entry.span, tensor: entry.tensor });
      runs.set(piece.path, list);
    }
  }
  const missing: { path: string; span: Span }[] = [];
  for (const parameter of model.parameters) {
    const count = parameter.axes.reduce((n, a) => n * a.size, 1);
    const tiling = tile(runs.get(parameter.path) ?? [], count);
    if (tiling.kind === "twice") {
      const [first, again] = tiling.runs;
      bag.error(
        "map/mapped-twice",
        `\`${parameter.path}\` is mapped twice, from \`${first.tensor}\` and \`${again.tensor}\``,
        [
          { span: again.span, text: "again here" },
          { span: first.span, text: "first here" },
        ],
        "remove one of the rules, or put them in `either { ... } or { ... }`",
      );
      return;
    }
    if (tiling.kind === "missing") missing.push({ path: parameter.path, span: parameter.span });
  }
  const [first] = missing;
  if (first === undefined) return;
  const more =
    missing.length > 1
      ? ` (and ${missing.length - 1} more: ${missing
          .slice(1, 4)
          .map((m) => m.path)
          .join(", ")}${missing.length > 4 ? ", ..." : ""})`
      : "";
  bag.error(
    "map/unmapped",
    `no rule gives the parameter \`${first.path}\`${more}`,
    [
      { span: at, text: "in this map" },
      { span: first.span, text: "declared here" },
    ],
    `add a rule \`${withVariables(first.path)} <-> "..."\``,
  );
}
