/** `moec upcycle`: a new checkpoint out of others, by the rules of an `upcycle` declaration; the plan first. */
import { elementBytes } from "../../runtime/checkpoint/element-type.ts";
import { checkSpace } from "../../runtime/files/disk.ts";
import type { Command } from "commander";
import type { MapBinding, Scope, Value, Workspace } from "../../compiler/index.ts";
import { accountModel } from "../../compiler/index.ts";
import { failure, suggest, textOf, type UpcycleDecl } from "../../grammar/index.ts";
import type { LoadedModel } from "../../runtime/model/model.ts";
import { openChecked, openWorkspace, readMaps } from "../../runtime/load/modules.ts";
import { planUpcycle, type UpcyclePlan } from "../../runtime/upcycle/plan.ts";
import type { SourceRun } from "../../runtime/upcycle/runs.ts";
import { openFolderWith } from "../load.ts";
import { TYPICAL_CONTEXT } from "../options.ts";
import { addTransferOptions, describeOutlook, lookAhead, runTransfer, type TransferFlags } from "../transfer.ts";
import { parseParam } from "../value.ts";
import { describeVerification, type VerifyOptions, verifyResult } from "./verify.ts";
import {
  diagnosticJson,
  humanBytes,
  humanCount,
  paint,
  plural,
  print,
  printJson,
  showDiagnostics,
  table,
} from "../output.ts";

interface Options extends TransferFlags {
  readonly from: readonly string[];
  readonly out?: string;
  readonly param?: ReadonlyMap<string, Value>;
  readonly to?: string;
  readonly set?: readonly string[];
  readonly take?: readonly string[];
  readonly map?: string;
  readonly plan?: true;
  readonly verify?: string;
  readonly adapter?: string;
  readonly traceFinite?: true;
  readonly json?: true;
}

export function registerUpcycle(program: Command): void {
  addTransferOptions(program.command("upcycle"))
    .description("make a mixture of experts from checkpoints, by the rules of an upcycling")
    .argument("<upcycling>", "name of one of the standard library, or FILE.moe#NAME")
    .requiredOption("--from <folder...>", "checkpoints, in the order of the declaration's sources")
    .option("--out <folder>", "checkpoint to make")
    .option(
      "--param <name=value>",
      'a parameter of the upcycling, such as K=2, layers=[1,3] or prompts=["a text","another"]',
      parseParam,
    )
    .option("--to <model>", "the model to make, instead of the one that the upcycling names or chooses by its source")
    .option(
      "--set <path=file#tensor>",
      "a parameter from a safetensors file instead of by a rule; with indices such as blocks[l] a stack of them",
      (text: string, before: readonly string[] = []) => [...before, text],
    )
    .option(
      "--take <name=source>",
      "whose setting counts where sources differ, such as theta=base or theta=src[1]; base alone: all settings are the base's",
      (text: string, before: readonly string[] = []) => [...before, text],
    )
    .option("--map <file>", "a .moe file with maps of the checkpoints' families")
    .option("--plan", "only show what would be done: bytes, memory, time, and room on the disk")
    .option(
      "--verify <text>",
      "afterwards, run the result and its sources on this text (or .bin of token ids) on the GPU",
    )
    .option("--adapter <name>", "the adapter for --verify and for sources that run (`moec devices` lists them)")
    .option(
      "--trace-finite",
      "where results of a model that runs are NaN or infinite, name the layer where that begins",
    )
    .option("--json", "print the plan, and what --verify found, as JSON")
    .addHelpText(
      "after",
      "\nExample:\n  moec upcycle sparse --from examples/checkpoints/seed --out mixture --param N=4",
    )
    .action(runUpcycle);
}

async function runUpcycle(name: string, options: Options): Promise<void> {
  if (options.out === undefined && options.plan !== true)
    throw failure("cli/no-target", "there is no folder to write to", {
      help: "give --out FOLDER, or --plan to see the plan alone",
    });
  const workspace = openWorkspace();
  const upcycle = findUpcycle(workspace, name);
  const maps = options.map === undefined ? [] : readMaps(workspace, options.map);
  const sources = await openSources(options.from, workspace, maps);
  try {
    const plan = await planUpcycle({
      upcycle,
      workspace,
      sources,
      maps,
      options: options.param ?? new Map(),
      to: options.to,
      overrides: options.set ?? [],
      take: options.take ?? [],
      dtype: options.dtype,
      layout: options.layout,
      ...(options.memory === undefined ? {} : { budget: options.memory }),
    });
    try {
      const { adapter, traceFinite = false } = options;
      await carryOut(plan, options, sources, { workspace, maps, adapter, traceFinite });
    } finally {
      await plan.close();
    }
  } finally {
    await closeAll(sources);
  }
}

async function carryOut(
  plan: UpcyclePlan,
  options: Options,
  sources: readonly LoadedModel[],
  verifying: VerifyOptions,
): Promise<void> {
  const { out, json } = options;
  if (!json) print(describePlan(plan));
  if (plan.warnings.length > 0) showDiagnostics(plan.warnings);
  if (options.plan === true || out === undefined) {
    const outlook = await lookAhead(plan, out ?? null);
    if (json) printJson({ ...planJson(plan), ...outlook });
    else print(describeOutlook(outlook));
    if (out !== undefined) checkSpace(out, plan.bytesWritten);
    return;
  }
  await runTransfer(plan, out, options);
  const verified = options.verify === undefined ? null : await verifyResult(out, options.verify, sources, verifying);
  if (json) printJson({ ...planJson(plan), out, ...(verified === null ? {} : { verified }) });
  else if (verified !== null) print(`\n${describeVerification(verified)}`);
}

interface Found {
  readonly item: UpcycleDecl;
  readonly scope: Scope;
}

function findUpcycle(workspace: Workspace, name: string): Found {
  const at = name.lastIndexOf("#");
  const file = at >= 0 ? name.slice(0, at) : name.endsWith(".moe") ? name : null;
  const wanted = at >= 0 ? name.slice(at + 1) : file === null ? name : null;
  const all = file === null ? workspace.standard("upcycle") : upcyclesOf(openChecked(workspace, file));
  const found = wanted === null && all.length === 1 ? all[0] : all.find((u) => u.item.name.text === wanted);
  if (found !== undefined) return found;
  const names = all.map((u) => u.item.name.text);
  const near = wanted === null ? null : suggest(wanted, names);
  const where = file ?? "the standard library";
  throw failure(
    "cli/no-upcycle",
    wanted === null
      ? `${where} declares ${plural(names.length, "upcycling")}`
      : `${where} has no upcycling \`${wanted}\``,
    {
      notes: names.length === 0 ? [] : [`it has ${names.join(", ")}`],
      help: near === null ? "give the name of one, or FILE.moe#NAME for one of your own" : `did you mean \`${near}\`?`,
    },
  );
}

function upcyclesOf(scope: Scope): readonly Found[] {
  return scope.module.items.flatMap((item) => (item.kind === "upcycle" ? [{ item, scope }] : []));
}

async function openSources(
  folders: readonly string[],
  workspace: Workspace,
  maps: readonly MapBinding[],
): Promise<LoadedModel[]> {
  const sources: LoadedModel[] = [];
  try {
    for (const folder of folders) sources.push(await openFolderWith(folder, workspace, maps));
    return sources;
  } catch (error) {
    await closeAll(sources);
    throw error;
  }
}

async function closeAll(sources: readonly LoadedModel[]): Promise<void> {
  await Promise.all(sources.map((s) => s.checkpoint.close()));
}

function describePlan(plan: UpcyclePlan): string {
  const { parameters, active } = countParameters(plan);
  const rows = plan.rules.map(({ rule, tensors, bytesRead, bytesWritten }) => [
    shorten(ruleText(rule)),
    `${tensors}`,
    humanBytes(bytesRead),
    humanBytes(bytesWritten),
  ]);
  const used = active === parameters ? "" : `, ${humanCount(active)} of them active per token`;
  const ran = plan.runs.map((run) => [`run ${describeRun(run, plan)}, on the GPU`, "", humanBytes(run.bytes), ""]);
  const total = ["", `${plan.tensors.length}`, humanBytes(plan.bytesRead), humanBytes(plan.bytesWritten)];
  return [
    table([["rule", "tensors", "read", "written"].map(paint.bold), ...ran, ...rows, total], [1, 2, 3]),
    ...plan.leftOut.map((left) => `left out: ${ruleText(left.rule)}, ${humanCount(left.parameters)} parameters`),
    "",
    `${plan.target.name}: ${humanCount(parameters)} parameters${used}, stored as ${plan.dtype}`,
    `at most ${humanBytes(plan.peakBytes)} of weights in memory at a time`,
  ].join("\n");
}

/** Rules may hold whole texts. */
const WIDEST = 100;
const shorten = (text: string): string => (text.length > WIDEST ? `${text.slice(0, WIDEST - 1)}…` : text);

const describeRun = ({ source, prompts, tokens }: SourceRun, { provenance }: UpcyclePlan): string =>
  `${provenance.sources[source]!.name} on ${plural(prompts.length, "prompt")} of ${plural(tokens, "token")}`;

function countParameters({ target, dtype }: UpcyclePlan): { readonly parameters: number; readonly active: number } {
  return accountModel(target, () => elementBytes(dtype), TYPICAL_CONTEXT).cost;
}

/** A rule on one line; what an option gives, with the option. */
function ruleText(rule: Parameters<typeof textOf>[0]): string {
  const text = textOf(rule).replace(/\s+/g, " ");
  return rule.file.path === "--set" ? `--set ${text}` : text;
}

function planJson(plan: UpcyclePlan): object {
  const { parameters, active } = countParameters(plan);
  const { bytesRead, bytesWritten, peakBytes, dtype } = plan;
  return {
    model: plan.target.name,
    map: plan.map.item.name.text,
    dtype,
    parameters,
    active,
    bytesRead,
    bytesWritten,
    peakBytes,
    runs: plan.runs.map(({ source, prompts, tokens, bytes, loaded }) => ({
      source: plan.provenance.sources[source]!.name,
      path: loaded.checkpoint.path,
      prompts,
      tokens,
      bytes,
    })),
    rules: plan.rules.map(({ rule, ...total }) => ({ rule: ruleText(rule), ...total })),
    leftOut: plan.leftOut.map(({ rule, parameters: count }) => ({ path: ruleText(rule), parameters: count })),
    tensors: plan.tensors.map(({ name, shape, dtype: stored, bytes, bytesRead: read }) => ({
      name,
      shape,
      dtype: stored,
      bytes,
      bytesRead: read,
    })),
    warnings: plan.warnings.map(diagnosticJson),
  };
}
