/** Checks an upcycling on small sources: its rules are total and fit, and its contracts hold. */
import type { UpcycleDecl } from "../../grammar/ast.ts";
import type { DiagnosticBag } from "../../grammar/diagnostic.ts";
import { MoeError } from "../../grammar/diagnostic.ts";
import type { Value } from "../interpret/value.ts";
import type { Scope } from "../resolve/modules.ts";
import { reportUnknownModel } from "../resolve/unknown.ts";
import { reportContracts, runContracts, tinyUpcycling } from "../upcycle/ensure.ts";

export function checkUpcycle(bag: DiagnosticBag, scope: Scope, decl: UpcycleDecl): void {
  for (const name of [decl.target, ...decl.params.flatMap((p) => (p.source === null ? [] : [p.source.model]))]) {
    if (scope.lookup(name.text)?.item.kind === "layer") continue;
    reportUnknownModel(bag, scope, name);
  }
  if (bag.hasErrors) return;
  const sources = decl.params.filter((p) => p.source !== null);
  // Four models for a list of sources: the smallest number that tells indices apart and divides by two.
  const count = sources.some((p) => p.source!.count !== null) ? sources.length + 3 : sources.length;
  // What the command line would give: small, and not more than the number of models.
  const options = new Map(
    decl.params
      .filter((p) => p.source === null && p.default === null)
      .map((p): [string, Value] => [p.name.text, { kind: "number", value: 2, float: false }]),
  );
  try {
    if (decl.ensures.length === 0) tinyUpcycling(decl, scope, count, options);
    else reportContracts(bag, decl, runContracts(decl, scope, count, options));
  } catch (error) {
    if (!(error instanceof MoeError)) throw error;
    for (const d of error.diagnostics) bag.add(d);
  }
}
