/** A plan in a folder on this machine. */
import type { Plan } from "../../compiler/plan/plan.ts";
import { checkOption, needed, text } from "../../grammar/option.ts";
import { isFolder } from "../files/read.ts";
import { readPlan, refuseMissing } from "../plan/read-plan.ts";
import { diskFolder } from "./disk-folder.ts";

/** Loads what `savePlan` saved, or what says that it is. Throws `file/failed`, and what `readPlan` throws. */
export async function loadPlan(folder: string): Promise<Plan> {
  checkOption("loadPlan", "folder", folder, needed(text));
  if (!isFolder(folder)) refuseMissing(folder, "plan.json");
  return readPlan(diskFolder(folder, null));
}
