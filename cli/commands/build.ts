/** `moec build`: compiles a model into a plan, to be read, shipped, or run without the compiler. */
import type { Command } from "commander";
import { Option } from "commander";
import { compileModel, passes } from "../../compiler/index.ts";
import { DEVICE_KINDS, type DeviceKind, promisedFacts } from "../../compiler/plan/facts.ts";
import { FORMATS, WEIGHT_FORMATS, type WeightFormat } from "../../compiler/plan/format.ts";
import type { DeviceFacts, Plan } from "../../compiler/plan/plan.ts";
import { STORE_TYPES, STORES, type StoreType } from "../../compiler/plan/store.ts";
import { failure, suggest } from "../../grammar/index.ts";
import { plural, print, printJson, say } from "../output.ts";
import { openSubject, type Subject, type SubjectOptions } from "../subject.ts";

interface Options extends SubjectOptions {
  readonly out?: string;
  readonly adapter?: string;
  readonly kind?: DeviceKind;
  readonly weights?: WeightFormat;
  readonly cache?: StoreType;
  readonly activations?: StoreType;
  readonly dump?: string;
  readonly json?: true;
}

export function registerBuild(program: Command): void {
  program
    .command("build")
    .description("compile a model to a plan: JSON and one readable WGSL file per kernel")
    .argument("<model>", "folder of a checkpoint, or .moe file with a config")
    .option("--out <folder>", "where to put plan.json and the kernels")
    .option("--config <name>", "which config of the file")
    .option("--map <file>", "a .moe file with the map of the checkpoint's family")
    .option("--adapter <name>", "compile for the adapter whose name contains this instead of the best one")
    .addOption(
      new Option("--kind <kind>", "compile for any device of this kind, without opening one")
        .choices(Object.keys(DEVICE_KINDS))
        .conflicts("adapter"),
    )
    .addOption(
      new Option(
        "--weights <format>",
        "keep parameters of two axes and more in this (default: as the checkpoint)",
      ).choices(WEIGHT_FORMATS),
    )
    .addOption(
      new Option("--cache <type>", "keep keys and values of attention in this (default: f32)").choices(STORE_TYPES),
    )
    .addOption(
      new Option("--activations <type>", "keep rows of numbers between kernels in this (default: f32)").choices(
        STORE_TYPES,
      ),
    )
    .option("--dump <after:pass>", `print the program after a pass: ${passNames().join(", ")}`)
    .option("--json", "print what was built as JSON")
    .addHelpText("after", "\nExample:\n  moec build examples/03-model.moe --kind gpu --out small.plan")
    .action(runBuild);
}

const passNames = (): string[] => passes.map((pass) => pass.name.replaceAll(" ", "-"));

async function runBuild(path: string, options: Options): Promise<void> {
  const wanted = options.dump === undefined ? null : parseDump(options.dump);
  const subject = await openSubject(path, options);
  try {
    const device = options.kind === undefined ? await factsOf(options.adapter) : promisedFacts(options.kind);
    const dump = (after: string, text: string): void => {
      if (after.replaceAll(" ", "-") === wanted) print(text.trimEnd());
    };
    const plan = compileModel(subject.model, {
      device,
      storage: storageOf(subject, options.weights),
      ...(options.cache === undefined ? {} : { cache: options.cache }),
      ...(options.activations === undefined ? {} : { activations: options.activations }),
      ...(wanted === null ? {} : { dump }),
    });
    if (options.out !== undefined) await (await import("../../runtime/save/save-plan.ts")).savePlan(plan, options.out);
    if (options.json) printJson({ ...summarise(plan), out: options.out ?? null });
    else report(plan, options);
  } finally {
    await subject.close();
  }
}

/** Norms and biases, which are few and count for much, stay as they are. */
function storageOf({ model, storage }: Subject, format: WeightFormat | undefined): (path: string) => WeightFormat {
  if (format === undefined) return storage;
  const wide = new Set(model.parameters.filter((p) => p.axes.length > 1).map((p) => p.path));
  return (path) => (wide.has(path) ? format : storage(path));
}

function parseDump(text: string): string {
  const name = text.replace(/^after:/, "");
  if (passNames().includes(name)) return name;
  const near = suggest(name, passNames());
  throw failure("cli/unknown-pass", `there is no pass \`${name}\``, {
    help: near === null ? `the passes are ${passNames().join(", ")}` : `did you mean \`${near}\`?`,
  });
}

async function factsOf(adapter: string | undefined): Promise<DeviceFacts> {
  const { openDevice } = await import("../../runtime/dawn/open-device.ts");
  const device = await openDevice(adapter === undefined ? {} : { adapter });
  device.close();
  return device.facts;
}

/** What is kept of a number, so that nobody has to guess what a format costs. */
function describeFormat(name: WeightFormat): string {
  const { bits, block, error, largest } = FORMATS[name];
  const size = bits + (block === null ? 0 : block.scales.bits / block.size);
  const of = block === null ? "itself" : `the largest of its ${block.size} neighbours`;
  const held = error === 0 ? "as they are" : `within ${(100 * error).toPrecision(2)} % of ${of}`;
  return `weights in ${name}: ${size} bits each, numbers up to ${largest.toExponential(1)}, ${held}`;
}

function describeCache({ states }: Plan, type: StoreType): string {
  const { error, largest } = STORES[type];
  const bytes = states.reduce((n, s) => n + s.bytesPerToken, 0);
  const held = error === 0 ? "as they are" : `within ${(100 * error).toPrecision(2)} %`;
  return `keys and values in ${type}: ${bytes} bytes for each token of context, numbers up to ${largest.toExponential(1)}, ${held}`;
}

function describeActivations({ buffers }: Plan, type: StoreType): string {
  const { largest } = STORES[type];
  const count = buffers.filter((b) => b.role === "temporary" && b.type === "f32" && b.store === type).length;
  return `between kernels ${plural(count, "buffer")} in ${type}, numbers up to ${largest.toExponential(1)}`;
}

interface Summary {
  readonly model: string;
  readonly kernels: number;
  readonly parameters: number;
  readonly entries: readonly {
    readonly name: string;
    readonly dispatches: number;
    readonly perLayer: readonly number[];
  }[];
}

function summarise(plan: Plan): Summary {
  const entries = plan.entries.map(({ name, steps }) => ({
    name,
    dispatches: steps.reduce((n, s) => n + (s.kind === "repeat" ? s.steps.length * s.indices.length : 1), 0),
    perLayer: steps.flatMap((s) => (s.kind === "repeat" ? [s.steps.length] : [])),
  }));
  return { model: plan.model, kernels: plan.modules.length, parameters: plan.parameters.length, entries };
}

function report(plan: Plan, { out, weights, cache, activations }: Options): void {
  const { model, kernels, entries } = summarise(plan);
  say(`${model}: ${plural(kernels, "kernel")}${out === undefined ? "" : `, written to ${out}`}`);
  if (weights !== undefined) say(`  ${describeFormat(weights)}`);
  if (cache !== undefined) say(`  ${describeCache(plan, cache)}`);
  if (activations !== undefined) say(`  ${describeActivations(plan, activations)}`);
  for (const { name, dispatches, perLayer } of entries) {
    const layers = perLayer.length === 0 ? "" : `, ${perLayer.join(" and ")} per layer`;
    say(`  ${name}: ${plural(dispatches, "dispatch").replace(/hs$/, "hes")}${layers}`);
  }
}
