/** Tests run two files at a time, each in its own process: a crash or a leak in a GPU driver then stays within one file. */
import { defineConfig } from "vitest/config";
import { SkipReporter } from "./tests/support/skip-reporter.ts";

export default defineConfig({
  test: {
    include: ["tests/**/*.test.ts"],
    pool: "forks",
    maxWorkers: 2,
    // A software adapter compiles shaders on the CPU at their first use, seconds each on a cold cache.
    testTimeout: 240_000,
    hookTimeout: 240_000,
    // Colours are for terminals; some tools take a CI for one.
    env: { NO_COLOR: "1" },
    globalSetup: ["tests/support/report-adapter.ts"],
    reporters: ["default", new SkipReporter()],
  },
});
