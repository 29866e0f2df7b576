/**
 * Runs prepared `test` blocks. The oracle gives the meaning; a device has to give the same, within what float32 allows,
 * which the expectations' own tolerances say.
 */
import type { TestCase, Scope } from "../compiler/index.ts";
import { checkExpectation, evaluateProgram, newContext, prepareTest } from "../compiler/index.ts";
import { MoeError } from "../grammar/index.ts";
import type { Span } from "../grammar/index.ts";

/** An expectation that did not hold, and what was found instead. */
export interface Failure {
  readonly span: Span;
  readonly found: string;
}

/** The `test` blocks of a file, ready to run. Throws the diagnostics of a block that does not fit together. */
export function prepareTests(scope: Scope): readonly TestCase[] {
  const ctx = newContext();
  const cases = scope.module.items.flatMap((item) =>
    item.kind === "test" ? (prepareTest(ctx, scope, item) ?? []) : [],
  );
  if (ctx.bag.hasErrors) throw new MoeError(ctx.bag.list);
  return cases;
}

/** Evaluates a test's program in float64; empty when every expectation holds. */
export function runTestOnOracle(test: TestCase): readonly Failure[] {
  const results = evaluateProgram(test.program, {
    inputs: test.inputs,
    params: (path) => {
      const value = test.parameters.get(path);
      if (value === undefined) throw new Error(`test "${test.title}" has no value for ${path}`);
      return value;
    },
    sizes: { T: test.tokens },
  });
  return test.expectations.flatMap(({ value, span }) => {
    const found = checkExpectation(value, results);
    return found === null ? [] : [{ span, found }];
  });
}
