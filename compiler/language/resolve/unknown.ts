/** Messages for names of models and of their parameters that are not there. */
import type { Name } from "../../../grammar/ast.ts";
import type { DiagnosticBag } from "../../../grammar/diagnostic.ts";
import { suggest } from "../../../grammar/index.ts";
import type { Span } from "../../../grammar/span.ts";
import type { Scope } from "./scope.ts";

export function reportUnknownModel(bag: DiagnosticBag, scope: Scope, { text, span }: Name): void {
  const near = suggest(text, scope.names());
  const help = scope.isExported(text)
    ? `add \`import { ${text} } from "std"\``
    : near === null
      ? "import it, or declare it in this file"
      : `did you mean \`${near}\`?`;
  bag.error("name/unknown", `there is no model \`${text}\` here`, [{ span, text: "not found in this scope" }], help);
}

/** `name` is no parameter of `decl`; `text` says what stands at `span`. */
export function reportUnknownParameter(
  bag: DiagnosticBag,
  decl: { readonly name: Name; readonly params: readonly { readonly name: Name }[] },
  name: string,
  span: Span,
  text: string,
): void {
  const near = suggest(
    name,
    decl.params.map((p) => p.name.text),
  );
  const help = near === null ? null : `did you mean \`${near}\`?`;
  bag.error("name/no-parameter", `\`${decl.name.text}\` has no parameter \`${name}\``, [{ span, text }], help);
}
