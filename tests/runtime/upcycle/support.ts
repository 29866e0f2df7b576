/** What the tests of upcycling share: sources, plans from the standard library, and evaluation through the oracle. */
import { buildProgram, evaluateProgram, type MapBinding, type Value, type Workspace } from "../../../compiler/index.ts";
import { type DataType, toFloat32 } from "../../../runtime/checkpoint/data-type.ts";
import { openSafetensors } from "../../../runtime/load/open-checkpoint.ts";
import { loadModel } from "../../../runtime/load/load-model.ts";
import type { LoadedModel } from "../../../runtime/model/model.ts";
import { openWorkspace } from "../../../runtime/load/modules.ts";
import { planUpcycle, type UpcyclePlan, type UpcycleRequest } from "../../../runtime/upcycle/plan.ts";

export const CHECKPOINTS = ["seed", "code", "law", "math"].map((name) => `examples/checkpoints/${name}`);
export const GOLDEN = "tests/fixtures/mix/btx/golden.safetensors";
export const SET_ROUTER = `blocks[l].ffn.pick.score.w=${GOLDEN}#router`;

type Request = Omit<UpcycleRequest, "upcycle" | "workspace" | "sources" | "maps"> & {
  /** Maps of one's own, which belong to a workspace. */
  readonly own?: { readonly workspace: Workspace; readonly maps: readonly MapBinding[] };
};

/** Plans an upcycling of the standard library over folders, and closes all when `body` is done. */
export async function withPlan<T>(
  name: string,
  folders: readonly string[],
  { own, ...request }: Request,
  body: (plan: UpcyclePlan, sources: readonly LoadedModel[]) => Promise<T>,
): Promise<T> {
  const { workspace, maps } = own ?? { workspace: openWorkspace(), maps: [] };
  const upcycle = workspace.standard("upcycle").find((u) => u.item.name.text === name)!;
  return withUpcycle(workspace, upcycle, folders, { ...request, maps }, body);
}

/** The same for the upcycling of a text. */
export async function withRecipe<T>(
  text: string,
  folders: readonly string[],
  body: (plan: UpcyclePlan, sources: readonly LoadedModel[]) => Promise<T>,
): Promise<T> {
  const workspace = openWorkspace();
  const scope = workspace.open({ path: "recipe.moe", text });
  const item = scope.module.items.find((i) => i.kind === "upcycle")!;
  return withUpcycle(workspace, { item, scope }, folders, {}, body);
}

async function withUpcycle<T>(
  workspace: Workspace,
  upcycle: UpcycleRequest["upcycle"],
  folders: readonly string[],
  request: Omit<UpcycleRequest, "upcycle" | "workspace" | "sources">,
  body: (plan: UpcyclePlan, sources: readonly LoadedModel[]) => Promise<T>,
): Promise<T> {
  const sources: LoadedModel[] = [];
  try {
    for (const folder of folders) sources.push(await loadModel(folder, workspace));
    const plan = await planUpcycle({ ...request, upcycle, workspace, sources });
    try {
      return await body(plan, sources);
    } finally {
      await plan.close();
    }
  } finally {
    await Promise.all(sources.map((s) => s.checkpoint.close()));
  }
}

/** Logits [T, V] of one sequence, in float64. */
export async function evaluateLogits({ model, source }: LoadedModel, ids: readonly number[]): Promise<Float64Array> {
  const params = new Map<string, { axes: (typeof model.parameters)[number]["axes"]; data: Float64Array }>();
  for (const { path, axes } of model.parameters) {
    const count = axes.reduce((n, a) => n * a.size, 1);
    const dtype = source.storage(path).toUpperCase() as DataType;
    params.set(path, { axes, data: Float64Array.from(toFloat32(dtype, await source.read(path, 0, count))) });
  }
  const program = buildProgram(model.instance);
  const results = evaluateProgram(program, {
    inputs: {
      [program.main.inputs[0]!.attrs.name]: { axes: [{ name: "T", size: ids.length }], data: Float64Array.from(ids) },
    },
    params: (path) => params.get(path)!,
    sizes: { T: ids.length },
  });
  return results["logits"]!.data as Float64Array;
}

/** A tensor of a safetensors file in float32. */
export async function readValues(path: string, tensor: string): Promise<Float32Array> {
  const file = await openSafetensors(path);
  try {
    return toFloat32(file.tensors.get(tensor)!.dtype, await file.read(tensor));
  } finally {
    await file.close();
  }
}

export const count = (value: number): Value => ({ kind: "number", value, float: false });
