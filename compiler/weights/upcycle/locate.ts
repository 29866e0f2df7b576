/** The parameters of a model that a path on the command line means, as runs of elements. */
import { DiagnosticBag, failure, MoeError } from "../../../grammar/diagnostic.ts";
import type { SourceFile } from "../../../grammar/span.ts";
import { staticEnv } from "../../language/interpret/context.ts";
import { resolvePath } from "../map/path.ts";
import { parsePath } from "../map/path-text.ts";
import { newContext, type Model } from "../../language/model/model.ts";
import { type Run, runsOf } from "./runs.ts";

/** `blocks[3].ffn` is all below it, `experts[n]` all of them. Throws a `MoeError` that points into `path`. */
export function locateParameters(model: Model, path: SourceFile): readonly Run[] {
  const span = { file: path, start: 0, end: path.text.length };
  const expr = parsePath(span);
  if (expr === null)
    throw failure("map/bad-path", "this is not the path of a parameter", {
      labels: [{ span, text: "" }],
      help: "write names with dots between them, such as `blocks[0].ffn.experts[1].up.w`",
    });
  const bag = new DiagnosticBag();
  const env = staticEnv(newContext("build", bag), model.instance.scope);
  const found = resolvePath(env, model.instance, expr, { indices: new Map(), layers: new Map() });
  if (bag.hasErrors) throw new MoeError(bag.list[0]!);
  return found.flatMap(runsOf);
}
