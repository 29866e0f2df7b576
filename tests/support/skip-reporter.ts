/** Says after the tests how many were skipped and in which files, so that a skip cannot pass for a success unseen. */
import type { Reporter, TestModule } from "vitest/node";

export class SkipReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[]): void {
    const skipped = modules.flatMap((m) => [...m.children.allTests("skipped")].map(() => m.relativeModuleId));
    const files = [...new Set(skipped)].join(", ");
    console.log(skipped.length === 0 ? "no test was skipped" : `${skipped.length} tests were skipped, in ${files}`);
  }
}
