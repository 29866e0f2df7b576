/** `npm run fuzz -- WHAT [options]`: longer than `npm test` has time for. */
const tools: Readonly<Record<string, () => Promise<(args: readonly string[]) => Promise<number>>>> = {
  inputs: async () => (await import("./inputs.ts")).fuzzInputs,
  programs: async () => (await import("./programs/command.ts")).fuzzPrograms,
};

const [what = "", ...args] = process.argv.slice(2);
const tool = Object.hasOwn(tools, what) ? tools[what] : undefined;
if (tool === undefined) {
  console.error(`npm run fuzz -- ${Object.keys(tools).join("|")} [--seconds N] [--seed S]`);
  process.exitCode = 1;
} else process.exitCode = await (await tool())(args);
