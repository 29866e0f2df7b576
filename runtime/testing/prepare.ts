/** Runs prepared `test` blocks through the oracle, which gives their meaning; `device-testing.ts` runs them on a GPU. */
import type { ArrayValue, TestCase, Scope } from "../../compiler/index.ts";
import { checkExpectation, evaluateProgram, newContext, prepareTest } from "../../compiler/index.ts";
import { MoeError } from "../../grammar/index.ts";
import type { Span } from "../../grammar/index.ts";

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
  return checkResults(test, evaluateTest(test));
}

/** The results of a test's program by name, in float64. */
export function evaluateTest(test: TestCase): Readonly<Record<string, ArrayValue>> {
  return evaluateProgram(test.program, {
    inputs: test.inputs,
    params: (path) => valueOf(test, path),
    sizes: { T: test.tokens },
  });
}

/** The expectations that these results do not meet. */
export function checkResults(test: TestCase, results: Readonly<Record<string, ArrayValue>>): readonly Failure[] {
  return test.expectations.flatMap(({ value, span }) => {
    const found = checkExpectation(value, results);
    return found === null ? [] : [{ span, found }];
  });
}

/** The value of a parameter, which preparing the test made sure of. */
export function valueOf(test: TestCase, path: string): ArrayValue {
  const value = test.parameters.get(path);
  if (value === undefined) throw new Error(`test "${test.title}" has no value for ${path}`);
  return value;
}
