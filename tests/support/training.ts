/** A family's fixture as it is trained: its program for micro-batches, the golden loss and gradients, and a run of the oracle. */
import { readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { addObjective, type Accumulated, batchProgram, buildProgram, newContext } from "../../compiler/index.ts";
import type { Program } from "../../compiler/graph/node.ts";
import type { Builder } from "../../compiler/ops/builder.ts";
import type { Value } from "../../compiler/ops/define.ts";
import { evaluateProgram } from "../../compiler/reference/interpret.ts";
import { toFloat32 } from "../../runtime/checkpoint/data-type.ts";
import { ELEMENTS } from "../../runtime/checkpoint/element-type.ts";
import { encodeHeader } from "../../runtime/checkpoint/safetensors-header.ts";
import type { Checkpoint } from "../../runtime/checkpoint/store.ts";
import { openCheckpoint } from "../../runtime/load/open-checkpoint.ts";
import { loadModel } from "../../runtime/load/load-model.ts";
import type { LoadedModel } from "../../runtime/model/model.ts";
import { withScratch } from "../runtime/checkpoint/scratch.ts";

const root = join(import.meta.dirname, "..", "fixtures", "families");

export interface TrainingCase {
  /** Of one sequence, with its losses apart. */
  readonly program: Program;
  readonly b: Builder;
  readonly params: (path: string) => Value;
  /** ids, target and counted of the golden batch. */
  readonly inputs: Readonly<Record<string, Value>>;
  readonly sizes: Readonly<Record<string, number>>;
  readonly golden: (name: string) => Promise<Float32Array>;
  /** The golden gradients by parameter. */
  readonly gradients: ReadonlyMap<string, Value>;
  readonly close: () => Promise<void>;
}

/** The coefficient of the auxiliary loss that the golden values were made with. */
export const COEFFICIENT = 0.02;

export const goldenFile = (name: string): string => join(root, name, "golden-train.safetensors");

/** A folder with the fixture as it was trained; gives its config. */
export async function writeTrained(name: string, folder: string): Promise<object> {
  const golden = await openCheckpoint(goldenFile(name));
  // The golden loss of a family without `aux_loss` has none.
  const coefficient = golden.tensors.has("aux_loss") ? COEFFICIENT : 0;
  await golden.close();
  const config = JSON.parse(readFileSync(join(root, name, "config.json"), "utf8")) as Record<string, unknown>;
  const changed = "router_aux_loss_coef" in config ? { ...config, router_aux_loss_coef: coefficient } : config;
  writeFileSync(join(folder, "config.json"), JSON.stringify(changed));
  symlinkSync(join(root, name, "model.safetensors"), join(folder, "model.safetensors"));
  return changed;
}

export async function openTraining(name: string): Promise<TrainingCase> {
  const golden = await openCheckpoint(goldenFile(name));
  const [parameters, gradients, instance] = await withScratch(async (folder) => {
    const changed = await writeTrained(name, folder);
    const model = await loadModel(folder);
    return [await readAll(model), await readGradients(golden, changed), model.model.instance] as const;
  });
  const ctx = newContext();
  const program = buildProgram(instance, ctx);
  const [batch, length] = golden.tensors.get("ids")!.shape as [number, number];
  const ids = Float64Array.from(await golden.toFloat32("ids"));
  const axes = [
    { name: "batch", size: batch },
    { name: "T", size: length },
  ];
  const last = (i: number): boolean => i % length === length - 1;
  return {
    program,
    b: ctx.builder,
    params: (path) => parameters.get(path)!,
    inputs: {
      ids: { axes, data: ids },
      target: { axes, data: ids.map((_, i) => (last(i) ? 0 : ids[i + 1]!)) },
      counted: { axes, data: ids.map((_, i) => Number(!last(i))) },
    },
    sizes: { T: length, batch },
    golden: (tensor) => golden.toFloat32(tensor),
    gradients,
    close: () => golden.close(),
  };
}

/** A fixture without a golden training step: its program, parameters and second golden batch. */
export async function openGolden(
  name: string,
): Promise<Pick<TrainingCase, "program" | "b" | "params" | "inputs" | "sizes">> {
  const golden = await openCheckpoint(join(root, name, "golden.safetensors"));
  const loaded = await loadModel(join(root, name));
  const parameters = await readAll(loaded);
  const ctx = newContext();
  const program = buildProgram(loaded.model.instance, ctx);
  const [batch, T] = golden.tensors.get("ids.1")!.shape as [number, number];
  const axes = [
    { name: "batch", size: batch },
    { name: "T", size: T },
  ];
  const ids = { axes, data: Float64Array.from(await golden.toFloat32("ids.1")) };
  await golden.close();
  return { program, b: ctx.builder, params: (path) => parameters.get(path)!, inputs: { ids }, sizes: { T, batch } };
}

/** The program of a micro-batch with its one `loss`. */
export function trainingProgram({ program, b }: Pick<TrainingCase, "program" | "b">): Accumulated {
  return batchProgram(addObjective(program, b)!, b);
}

export function runTraining(
  test: Pick<TrainingCase, "inputs" | "params" | "sizes">,
  program: Program,
): Record<string, Value> {
  return evaluateProgram(program, { inputs: test.inputs, params: test.params, sizes: test.sizes });
}

async function readAll({ model, source, checkpoint }: LoadedModel): Promise<Map<string, Value>> {
  const values = new Map<string, Value>();
  for (const { path, axes } of model.parameters) {
    const bytes = await source.read(
      path,
      0,
      axes.reduce((n, a) => n * a.size, 1),
    );
    values.set(path, { axes, data: Float64Array.from(toFloat32(ELEMENTS[source.storage(path)].dtype, bytes)) });
  }
  await checkpoint.close();
  return values;
}

/**
 * The gradients of a file by parameter: they have the layout of transformers' modules, or of any of the family's checkpoints, and as a
 * checkpoint of that layout the family's map reads them.
 */
export async function readGradients(golden: Checkpoint, config: object, prefix = "grad."): Promise<Map<string, Value>> {
  const names = [...golden.tensors.keys()].filter((n) => n.startsWith(prefix));
  return withScratch(async (folder) => {
    writeFileSync(join(folder, "config.json"), JSON.stringify(config));
    const specs = names.map(
      (n) => ({ name: storedName(n.slice(prefix.length)), dtype: "F32", shape: golden.tensors.get(n)!.shape }) as const,
    );
    const data: Uint8Array[] = [];
    for (const n of names) data.push(new Uint8Array(Float32Array.from(await golden.toFloat32(n)).buffer));
    writeFileSync(join(folder, "model.safetensors"), Buffer.concat([encodeHeader(specs, {}), ...data]));
    return readAll(await loadModel(folder));
  });
}

/** Granite's modules are named otherwise than its checkpoints. */
function storedName(tensor: string): string {
  return tensor
    .replace(/block_sparse_moe\.experts\.gate_up_proj$/, "block_sparse_moe.input_linear.weight")
    .replace(/block_sparse_moe\.experts\.down_proj$/, "block_sparse_moe.output_linear.weight")
    .replace(/block_sparse_moe\.router\.weight$/, "block_sparse_moe.router.layer.weight");
}
