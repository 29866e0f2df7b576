/** Settings of a training that are given as text, each option by itself: by a command, for one. All of the library is in scope. */
import type { Expr, Name } from "../../grammar/ast.ts";
import { failure, MoeError } from "../../grammar/diagnostic.ts";
import { parseExpression } from "../../grammar/parse.ts";
import type { Workspace } from "../language/resolve/modules.ts";
import { parsePath } from "../weights/map/path-text.ts";
import type { PathRule, TrainingSettings } from "./groups.ts";

export interface SettingTexts {
  /** `AdamW(decay: 0.1)`. */
  readonly optimizer: string;
  /** `2e-3 * cosine_decay(t, steps, warmup: 100)`. */
  readonly rate: string;
  /** By paths, with commas between them: `norm, blocks[l].norm`; what is set there by name, as text. */
  readonly rules?: Readonly<Record<string, Readonly<Record<string, string>>>>;
  readonly frozen?: readonly string[];
  readonly only?: readonly string[] | null;
}

/** Throws a `MoeError` that points into the text. */
export function readSettings(workspace: Workspace, texts: SettingTexts): TrainingSettings {
  const { optimizer, rate, rules = {}, frozen = [], only = null } = texts;
  return {
    scope: workspace.openInLibrary({ path: "settings", text: "" }),
    optimizer: readExpression("optimizer", optimizer),
    rate: readExpression("rate", rate),
    rules: Object.entries(rules).map(([paths, values]): PathRule => ({
      paths: paths.split(",").map(readPath),
      values: Object.entries(values).map(([name, value]) => ({
        name: nameOf(name),
        value: readExpression(name, value),
      })),
    })),
    frozen: frozen.map(readPath),
    only: only?.map(readPath) ?? null,
  };
}

function readExpression(option: string, text: string): Expr {
  const { expr, diagnostics } = parseExpression({ path: option, text });
  if (expr === null) throw new MoeError(diagnostics);
  return expr;
}

function readPath(text: string): Expr {
  const path = text.trim();
  const span = { file: { path: "path", text: path }, start: 0, end: path.length };
  const expr = parsePath(span);
  if (expr !== null) return expr;
  throw failure("map/bad-path", "this is not the path of a parameter", {
    labels: [{ span, text: "" }],
    help: "write names with dots between them, such as `blocks[l].ffn.experts[n].up.w`",
  });
}

function nameOf(text: string): Name {
  return { text, span: { file: { path: text, text }, start: 0, end: text.length } };
}
