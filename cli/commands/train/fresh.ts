/** `--init`: the checkpoint of a model that nobody has trained, which a run begins with. It stays in the run's folder, to compare with. */
import { join } from "node:path";
import { openWorkspace, readMaps } from "../../../runtime/load/modules.ts";
import { listSteps } from "../../../runtime/training/checkpoint-folder.ts";
import { executeTransfer } from "../../../runtime/upcycle/execute.ts";
import { planFresh } from "../../../runtime/upcycle/fresh.ts";
import { configuredModel } from "../../subject.ts";

export interface FreshFlags {
  /** The run's folder. */
  readonly out: string;
  readonly seed: number;
  readonly tokenizer: string | null;
  readonly map?: string;
}

/** `init`: `FILE.moe#CONFIG`, or `FILE.moe` where it has but one. Gives the folder; what a run has begun with already stays as it is. */
export async function writeFresh(init: string, { out, seed, tokenizer, map }: FreshFlags): Promise<string> {
  const [, file = init, config] = /^(.*\.moe)#([^#]*)$/.exec(init) ?? [];
  const workspace = openWorkspace();
  const model = configuredModel(workspace, file, config);
  const folder = join(out, "fresh");
  if (listSteps(out).length > 0) return folder;
  const maps = map === undefined ? [] : readMaps(workspace, map);
  await executeTransfer(planFresh(model, workspace, { seed, tokenizer, maps }), folder, { overwrite: true });
  return folder;
}
