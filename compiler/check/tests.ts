/** Checks a `test` block by preparing it: subject, sizes, literals and names; running it is `moec test`'s work. */
import type { TestDecl } from "../../grammar/ast.ts";
import type { DiagnosticBag } from "../../grammar/diagnostic.ts";
import { newContext } from "../language/model/model.ts";
import type { Scope } from "../language/resolve/scope.ts";
import { prepareTest } from "../language/testing/test-case.ts";

export function checkTests(bag: DiagnosticBag, scope: Scope, decl: TestDecl): void {
  prepareTest(newContext("build", bag), scope, decl);
  if (!decl.statements.some((s) => s.kind === "expect")) {
    bag.warn(
      "test/no-expectation",
      `test "${decl.title}" expects nothing`,
      [{ span: decl.span, text: "add an `expect`" }],
      "write `expect close(out, [...])`",
    );
  }
}
