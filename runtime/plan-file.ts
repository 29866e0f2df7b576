/**
 * A plan as a folder: `plan.json` and one `.wgsl` file per module, named after what it computes so that they can be read
 * and diffed. Written beside its final name and moved there when complete.
 */
import { mkdir, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { type Dispatch, type KernelModule, type Plan, PLAN_VERSION } from "../compiler/plan/plan.ts";
import { failure } from "../grammar/diagnostic.ts";

/** A module in `plan.json`: its text is in a file of the folder. */
type ModuleRecord = Omit<KernelModule, "wgsl"> & { readonly file: string };

/** Saves a plan; `folder` must not exist, or hold a plan, which is replaced. Throws `plan/folder`. */
export async function savePlan(plan: Plan, folder: string): Promise<void> {
  const present = await readdir(folder).catch(() => null);
  if (present !== null && present.length > 0 && !present.includes("plan.json"))
    throw failure("plan/folder", `${folder} holds other files`, { help: "give a new or an empty folder" });
  const partial = join(dirname(folder), `.${basename(folder)}.partial`);
  await rm(partial, { recursive: true, force: true });
  await mkdir(partial, { recursive: true });
  try {
    const labels = labelModules(plan);
    const modules: ModuleRecord[] = [];
    for (const { wgsl, ...module } of plan.modules) {
      const file = `${fileName(module.id, labels.get(module.id) ?? "")}.wgsl`;
      await writeFile(join(partial, file), wgsl);
      modules.push({ ...module, file });
    }
    await writeFile(join(partial, "plan.json"), `${JSON.stringify({ ...plan, modules }, null, 1)}\n`);
    await rm(folder, { recursive: true, force: true });
    await rename(partial, folder);
  } catch (error) {
    await rm(partial, { recursive: true, force: true });
    throw error;
  }
}

/** Loads what `savePlan` saved. Throws `plan/missing`, `plan/unreadable`, `plan/version`. */
export async function loadPlan(folder: string): Promise<Plan> {
  const read = async (file: string): Promise<string> => {
    try {
      return await readFile(join(folder, file), "utf8");
    } catch {
      throw failure("plan/missing", `${folder} has no ${file}`, { help: "is it a folder that a plan was saved to?" });
    }
  };
  const text = await read("plan.json");
  let saved: Omit<Plan, "modules"> & { readonly modules: readonly ModuleRecord[] };
  try {
    saved = JSON.parse(text) as typeof saved;
  } catch (error) {
    throw failure("plan/unreadable", `${join(folder, "plan.json")} is not JSON`, { notes: [String(error)] });
  }
  if (saved.format !== "moec-plan" || saved.version !== PLAN_VERSION)
    throw failure(
      "plan/version",
      `${folder} holds ${String(saved.format)} ${String(saved.version)}, and this is moec-plan ${PLAN_VERSION}`,
      {
        help: "compile the model again",
      },
    );
  const modules: KernelModule[] = [];
  for (const { file, ...module } of saved.modules) modules.push({ ...module, wgsl: await read(basename(file)) });
  return { ...saved, modules };
}

/** The label of the first dispatch that runs each module. */
function labelModules(plan: Plan): ReadonlyMap<string, string> {
  const labels = new Map<string, string>();
  const steps = plan.entries.flatMap((entry) => entry.steps);
  for (const { module, label } of steps.flatMap((step): readonly Dispatch[] =>
    step.kind === "repeat" ? step.steps : [step],
  ))
    if (!labels.has(module)) labels.set(module, label);
  return labels;
}

/** Ids are unique, so names are too; what is not a letter, digit or dot becomes one `-`. */
function fileName(id: string, label: string): string {
  return `${id} ${label}`
    .replaceAll(/[^\w.]+/g, "-")
    .replaceAll(/^-|-$/g, "")
    .slice(0, 80);
}
