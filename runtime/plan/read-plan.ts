/** A plan out of a folder: `plan.json` and one `.wgsl` file per module. It may come from anyone: all of it is looked at before it is used. */
import { type KernelModule, type Plan, PLAN_VERSION } from "../../compiler/plan/plan.ts";
import { failure } from "../../grammar/diagnostic.ts";
import type { Folder } from "../checkpoint/folder.ts";
import { isRecord, showValue } from "../files/json-shape.ts";
import { checkPlanShape, checkPlanSound } from "./plan-shape.ts";
import { fromEarlier } from "./earlier.ts";

/** A module in `plan.json`: its text is in a file of the folder. */
export type ModuleRecord = Omit<KernelModule, "wgsl"> & { readonly file: string };

/** Throws `plan/missing`, `plan/unreadable`, `plan/version`, and what reading throws. */
export async function readPlan(folder: Folder): Promise<Plan> {
  const read = async (name: string): Promise<string> =>
    (await folder.readText(name)) ?? refuseMissing(folder.path, name);
  const path = folder.pathOf("plan.json");
  const saved = parsePlan(await read("plan.json"), path);
  const modules: KernelModule[] = [];
  // What is beside the plan, and nothing elsewhere.
  for (const { file, ...module } of saved.modules)
    modules.push({ ...module, wgsl: await read(file.slice(file.search(/[^/\\]*$/))) });
  const plan = { ...saved, modules };
  checkPlanSound(plan, path);
  return plan;
}

export function refuseMissing(folder: string, name: string): never {
  throw failure("plan/missing", `\`${folder}\` has no \`${name}\``, {
    help: "is it a folder that a plan was saved to?",
  });
}

function parsePlan(text: string, path: string): Omit<Plan, "modules"> & { readonly modules: readonly ModuleRecord[] } {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw failure("plan/unreadable", `\`${path}\` is not JSON`, { notes: [(error as Error).message] });
  }
  if (isRecord(json) && json["format"] === "moec-plan") json = fromEarlier(json);
  const { format, version } = (json ?? {}) as Partial<Plan>;
  if (format !== "moec-plan" || version !== PLAN_VERSION)
    throw failure("plan/version", `\`${path}\` is no plan of this moec, which reads moec-plan 1 to ${PLAN_VERSION}`, {
      notes: [`its format is ${showValue(format)}, its version ${showValue(version)}`],
      help: "compile the model again",
    });
  checkPlanShape(json, path);
  return json as ReturnType<typeof parsePlan>;
}
