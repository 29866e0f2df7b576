/** Tests run two files at a time, each in its own process: a crash or a leak in a GPU driver then stays within one file. */
import { defineConfig } from "vitest/config";
import { SkipReporter } from "./tests/support/skip-reporter.ts";

export default defineConfig({
  test: {
    include: ["tests/**/*.test.ts"],
    pool: "forks",
    maxWorkers: 2,
    // What takes a minute alone takes ten on a busy machine: tests are ended when they make no progress, not by the clock. The runner's
    // own limit is for systems where that cannot be seen.
    setupFiles: ["tests/support/watchdog.ts"],
    testTimeout: 3_600_000,
    hookTimeout: 3_600_000,
    // Colours are for terminals; some tools take a CI for one.
    env: { NO_COLOR: "1" },
    globalSetup: ["tests/support/report-adapter.ts"],
    reporters: ["default", new SkipReporter()],
  },
});
