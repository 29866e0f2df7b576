/**
 * The folder of a training run, with its checkpoints: `step-00000100` and so on, of which the last two are kept. What else is in it is not
 * looked at. A step's folder is only removed while it is as moec wrote it; a kill amid that leaves it whole, hidden, until the next step.
 */
import { dirname, join, resolve } from "node:path";
import { failure, MoeError } from "../../grammar/diagnostic.ts";
import { tryTo } from "../files/create.ts";
import { makeFolders } from "../files/disk.ts";
import { type Lock, takeLock } from "../files/lock.ts";
import { find, isFolder, recode } from "../files/read.ts";
import { openStaging, removeOutput } from "../files/staging.ts";
import { readNames, removeFolder } from "../files/system.ts";
import { checkApart } from "../files/target.ts";
import type { LoadedModel } from "../model/model.ts";
import { CHECKPOINT } from "../save/own-files.ts";

/** In each step's folder, and what tells it from others of such a name. */
export const RECORD_NAME = "train.json";

const KEPT = 2;

export const stepFolder = (folder: string, step: number): string =>
  join(resolve(folder), `step-${String(step).padStart(8, "0")}`);

/** Steps that have a checkpoint, ascending. None where there is no such folder. */
export function listSteps(folder: string): readonly number[] {
  return namesIn(folder)
    .flatMap((name) => stepOf(name) ?? [])
    .filter((step) => find(join(stepFolder(folder, step), RECORD_NAME)) !== null)
    .sort((a, b) => a - b);
}

/**
 * What is wrong with a place for a new run is told before the first step: throws `checkpoint/target-exists` where there is a run already,
 * or a file, and `checkpoint/target-is-source` within the checkpoint that is trained.
 */
export function checkTrainingFolder(folder: string, loaded: LoadedModel): void {
  recode("checkpoint/write-failed", () => {
    const refuse = (message: string, help: string): Error => failure("checkpoint/target-exists", message, { help });
    if (find(folder)?.isDirectory() === false)
      throw refuse(`\`${folder}\` is a file, and a run needs a folder`, "choose another name");
    const last = listSteps(folder).at(-1);
    if (last !== undefined)
      throw refuse(
        `\`${folder}\` holds a run already, up to step ${last}`,
        "go on with it, choose another name, or remove it",
      );
    const { path, files } = loaded.checkpoint;
    checkApart(stepFolder(folder, 0), [path, ...files.map((file) => file.path)]);
  });
}

/** For as long as a run goes on; throws `checkpoint/busy` where another process trains there. Makes the folder. */
export function lockTraining(folder: string): Lock {
  const path = join(resolve(folder), ".training");
  makeFolders(dirname(path));
  const lock = takeLock(path, folder);
  return {
    check: lock.check,
    release() {
      lock.release();
      // Another may have come meanwhile.
      tryTo(() => removeFolder(path));
    },
  };
}

/** Throws `train/later-step` where there are checkpoints of later steps: the next resume would begin with those. */
export function checkLatest(folder: string, step: number): void {
  const last = listSteps(folder).at(-1);
  if (last === undefined || last <= step) return;
  throw failure(
    "train/later-step",
    `\`${folder}\` holds a checkpoint of step ${last}, which is later than step ${step}`,
    {
      help: "train into another folder, or move the later checkpoints to another place",
    },
  );
}

/**
 * Removes what is older than the last two, and what killed writers left. Gives the folders that stay since there is something else in
 * them, or something that was changed.
 */
export function removeOlder(folder: string): readonly string[] {
  for (const name of namesIn(folder)) {
    const step = stepOf(name.replace(/^\.(.*)\.partial$/, "$1"));
    if (step !== null && name.startsWith("."))
      tryOwn(() => openStaging(stepFolder(folder, step), CHECKPOINT, true).remove());
  }
  const old = listSteps(folder).slice(0, -KEPT);
  return old.map((step) => stepFolder(folder, step)).filter((path) => !tryOwn(() => removeOutput(path, CHECKPOINT)));
}

/** False where it is not ours to do: of a place that holds something of the user's, or where another is at work. */
function tryOwn(action: () => void): boolean {
  try {
    action();
    return true;
  } catch (error) {
    const codes: readonly string[] = ["checkpoint/target-exists", "checkpoint/busy"];
    if (error instanceof MoeError && error.diagnostics.every((d) => codes.includes(d.code))) return false;
    throw error;
  }
}

function namesIn(folder: string): readonly string[] {
  return isFolder(folder) ? readNames(folder) : [];
}

function stepOf(name: string): number | null {
  const found = /^step-(\d{8,15})$/.exec(name);
  return found === null ? null : Number(found[1]);
}
