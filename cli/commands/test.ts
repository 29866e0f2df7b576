/** `moec test`: the `test` blocks of files, through the oracle, and on a GPU with --gpu. */
import { type Command, Option } from "commander";
import type { TestCase } from "../../compiler/index.ts";
import type { Diagnostic } from "../../grammar/index.ts";
import { failure, formatSpan } from "../../grammar/index.ts";
import { openChecked, openWorkspace, standardLibraryFolder } from "../../runtime/load/modules.ts";
import { type Failure, prepareTests, runTestOnOracle } from "../../runtime/testing/prepare.ts";
import { findMoeFiles } from "../files.ts";
import { paint, plural, print, printJson, showDiagnostics } from "../output.ts";

interface Options {
  readonly json?: true;
  readonly std?: true;
  readonly gpu?: true;
  readonly adapter?: string;
}

export function registerTest(program: Command): void {
  program
    .command("test")
    .description("run the test blocks of .moe files")
    .argument("[file...]", "files or folders")
    .option("--std", "run the tests of the standard library as well")
    .option("--gpu", "run them on a GPU as well, with the kernels for many rows and those for few")
    .addOption(
      new Option("--adapter <name>", "run them on the adapter whose name contains this as well").implies({ gpu: true }),
    )
    .option("--json", "print the results as JSON")
    .addHelpText("after", "\nExample:\n  moec test examples/ --std")
    .action(runTests);
}

interface Result {
  readonly file: string;
  readonly title: string;
  readonly failures: readonly Failure[];
}

async function runTests(paths: readonly string[], options: Options): Promise<void> {
  if (paths.length === 0 && options.std !== true)
    throw failure("cli/nothing-to-do", "there is nothing to test", {
      help: "give files or folders, or --std for the standard library",
    });
  const workspace = openWorkspace();
  const files = findMoeFiles([...paths, ...(options.std ? [standardLibraryFolder()] : [])]);
  const cases = files.flatMap((path) => {
    const scope = openChecked(workspace, path);
    return prepareTests(scope).map((test) => ({ file: scope.file.path, test }));
  });
  const results = cases.map(({ file, test }) => ({ file, title: test.title, failures: runTestOnOracle(test) }));
  if (options.gpu) results.push(...(await runOnDevice(cases, options.adapter)));
  const failed = results.filter((r) => r.failures.length > 0);
  if (options.json) printJson({ ok: failed.length === 0, tests: results.map(resultJson) });
  else report(results, failed);
  if (failed.length > 0) process.exitCode = 1;
}

interface Case {
  readonly file: string;
  readonly test: TestCase;
}

async function runOnDevice(cases: readonly Case[], adapter: string | undefined): Promise<readonly Result[]> {
  const { openDevice } = await import("../../runtime/dawn/open-device.ts");
  const { runTestOnDevice } = await import("../../runtime/testing/device.ts");
  const device = await openDevice(adapter === undefined ? {} : { adapter });
  try {
    const results: Result[] = [];
    for (const { file, test } of cases) {
      const failures = await runTestOnDevice(test, device);
      results.push({ file: `${file} on ${device.adapter.name}`, title: test.title, failures });
    }
    return results;
  } finally {
    device.close();
  }
}

function report(results: readonly Result[], failed: readonly Result[]): void {
  for (const [file, own] of Map.groupBy(results, (r) => r.file)) {
    const bad = own.filter((r) => r.failures.length > 0);
    print(`${bad.length === 0 ? paint.green("pass") : paint.red("FAIL")}  ${file}  ${plural(own.length, "test")}`);
    for (const result of bad) print(`      ${paint.red("failed")}: ${result.title}`);
  }
  if (failed.length > 0) showDiagnostics(failed.flatMap(describeFailures));
  print(
    failed.length === 0
      ? `${plural(results.length, "test")} passed`
      : `${failed.length} of ${plural(results.length, "test")} failed`,
  );
}

function describeFailures({ title, failures }: Result): readonly Diagnostic[] {
  return failures.map(({ span, found }) => ({
    code: "test/failed",
    severity: "error",
    message: `test "${title}" failed`,
    labels: [{ span, text: found }],
    notes: [],
    help: null,
  }));
}

function resultJson({ file, title, failures }: Result): object {
  return {
    file,
    title,
    ok: failures.length === 0,
    failures: failures.map(({ span, found }) => ({ at: formatSpan(span), found })),
  };
}
