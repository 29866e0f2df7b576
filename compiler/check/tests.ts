/** Checks a `test` block by preparing it: subject, sizes, literals and names; running it is `moec test`'s work. */
import type { TestDecl } from "../../grammar/ast.ts";
import type { Context } from "../language/interpret/context.ts";
import type { Scope } from "../language/resolve/scope.ts";
import { prepareTest } from "../language/testing/test-case.ts";

export function checkTests(ctx: Context, scope: Scope, decl: TestDecl): void {
  const { bag } = ctx;
  prepareTest(ctx, scope, decl);
  if (!decl.statements.some((s) => s.kind === "expect")) {
    bag.warn(
      "test/no-expectation",
      `test "${decl.title}" expects nothing`,
      [{ span: decl.span, text: "add an `expect`" }],
      "write `expect close(out, [...])`",
    );
  }
}
