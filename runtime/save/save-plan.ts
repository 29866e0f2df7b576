/**
 * A plan onto this machine's disk: `plan.json` and one `.wgsl` file per module, named after what it computes so that they can be
 * read and diffed. Written beside its final name and moved there when complete.
 */
import { basename, join, resolve } from "node:path";
import type { Dispatch, Plan } from "../../compiler/plan/plan.ts";
import { checkOption, needed, object, text } from "../../grammar/option.ts";
import { FileError } from "../files/error.ts";
import { tryTo } from "../files/create.ts";
import { flushFolder, makeFolders, removeTree } from "../files/disk.ts";
import { type FileRecord, formatManifest, type Manifest, MANIFEST_NAME, recordBytes } from "../files/manifest.ts";
import { readTextIfAny } from "../files/read.ts";
import { openStaging, writeOver } from "../files/staging.ts";
import { lstat } from "../files/system.ts";
import { lookAt, type Output } from "../files/target.ts";
import type { ModuleRecord } from "../plan/read-plan.ts";

const PLAN: Output = { kind: "plan", name: "a plan", code: "plan/folder", earlier: listEarlier };

/**
 * Saves a plan; `folder` must not exist, or be empty, or hold a plan as moec wrote it, which is replaced. Throws `plan/folder`,
 * `checkpoint/busy`, `file/failed`.
 */
export async function savePlan(plan: Plan, folder: string): Promise<void> {
  checkOption("savePlan", "plan", plan, needed(object("a plan, of `compile`", "entries", "modules")));
  checkOption("savePlan", "folder", folder, needed(text));
  const staging = openStaging(resolve(folder), PLAN, true);
  const { directory } = staging;
  try {
    removeTree(directory);
    makeFolders(directory);
    const files: Record<string, FileRecord> = {};
    const add = (name: string, text: string): void => {
      writeOver(join(directory, name), text);
      files[name] = recordBytes(text);
    };
    const labels = labelModules(plan);
    const modules: ModuleRecord[] = [];
    for (const { wgsl, ...module } of plan.modules) {
      const file = `${fileName(module.id, labels.get(module.id) ?? "")}.wgsl`;
      add(file, wgsl);
      modules.push({ ...module, file });
    }
    add("plan.json", `${JSON.stringify({ ...plan, modules }, null, 1)}\n`);
    writeOver(join(directory, MANIFEST_NAME), formatManifest({ kind: PLAN.kind, files }));
    flushFolder(directory);
    staging.publish();
  } catch (error) {
    tryTo(staging.remove);
    throw error;
  }
  staging.remove();
}

/** Before there were manifests, `plan.json` named the files beside it. */
function listEarlier(folder: string): Manifest["files"] | null {
  const text = readTextIfAny(join(folder, "plan.json"));
  if (text === null) return null;
  try {
    const { format, modules } = JSON.parse(text) as {
      readonly format: unknown;
      readonly modules: readonly ModuleRecord[];
    };
    if (format !== "moec-plan") return null;
    const names = ["plan.json", ...modules.map(({ file }) => basename(file))];
    const sized = names.flatMap((name): [string, FileRecord][] => {
      if (lookAt(join(folder, name)) === null) return [];
      return [[name, { bytes: Number(lstat(join(folder, name)).size), sha256: null }]];
    });
    return Object.fromEntries(sized);
  } catch (error) {
    if (error instanceof FileError) throw error;
    return null;
  }
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
