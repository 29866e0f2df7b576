/** The message for a declaration that names a model which is not there. */
import type { Name } from "../../grammar/ast.ts";
import type { DiagnosticBag } from "../../grammar/diagnostic.ts";
import { suggest } from "../../grammar/index.ts";
import type { Scope } from "./modules.ts";

export function reportUnknownModel(bag: DiagnosticBag, scope: Scope, { text, span }: Name): void {
  const near = suggest(text, scope.names());
  const help = scope.isExported(text)
    ? `add \`import { ${text} } from "std"\``
    : near === null
      ? "import it, or declare it in this file"
      : `did you mean \`${near}\`?`;
  bag.error("name/unknown", `there is no model \`${text}\` here`, [{ span, text: "not found in this scope" }], help);
}
