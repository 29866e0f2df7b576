/** Checkpoints as commands open them: what they leave a choice of is told on stderr. */
import type { MapBinding, Workspace } from "../compiler/index.ts";
import { loadModel } from "../runtime/load/load-model.ts";
import type { LoadedModel } from "../runtime/model/model.ts";
import { openWorkspace, readMaps } from "../runtime/load/modules.ts";
import { showDiagnostics } from "./output.ts";

/** Through the maps of a `.moe` file, where one is given, or of the standard library. */
export function openFolder(folder: string, map: string | undefined): Promise<LoadedModel> {
  const workspace = openWorkspace();
  return openFolderWith(folder, workspace, map === undefined ? [] : readMaps(workspace, map));
}

export async function openFolderWith(
  folder: string,
  workspace: Workspace,
  maps: readonly MapBinding[],
): Promise<LoadedModel> {
  const loaded = await loadModel(folder, workspace, maps);
  if (loaded.notes.length > 0) showDiagnostics(loaded.notes);
  return loaded;
}
