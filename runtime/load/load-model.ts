/** The model in a checkpoint's folder on this machine. */
import type { MapBinding, Workspace } from "../../compiler/index.ts";
import { failure } from "../../grammar/diagnostic.ts";
import { checkOption, needed, text } from "../../grammar/option.ts";
import { isFolder, recode } from "../files/read.ts";
import { type LoadedModel, readModel } from "../model/model.ts";
import { diskFolder } from "./disk-folder.ts";
import { openWorkspace, readMaps } from "./modules.ts";

/** Opens a checkpoint's folder. Throws `checkpoint/no-folder`, and what `readModel` throws. */
export async function loadModel(
  given: string,
  workspace: Workspace = openWorkspace(),
  own: readonly MapBinding[] = [],
): Promise<LoadedModel> {
  checkOption("loadModel", "folder", given, needed(text));
  const folder = diskFolder(given);
  const { path } = folder;
  if (!recode("checkpoint/unreadable", () => isFolder(path)))
    throw failure("checkpoint/no-folder", `there is no folder ${path}`, {
      help: "give the folder of a checkpoint: config.json and safetensors files",
    });
  return readModel(folder, workspace, own);
}

/** A checkpoint read through the maps of a `.moe` file, where one is given, or of the standard library. */
export function loadWithMaps(folder: string, map: string | undefined): Promise<LoadedModel> {
  const workspace = openWorkspace();
  return loadModel(folder, workspace, map === undefined ? [] : readMaps(workspace, map));
}
