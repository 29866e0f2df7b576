/**
 * From a checkpoint's folder to a model that runs: config and map, a device, a session. The pieces are
 * public too (`loadModel`, `compileModel`, `openDevice`, `openSession`) for whoever wants to do something in between.
 */
import { checkOption, checkOptions, needed, object, type Rules, text } from "../grammar/option.ts";
import { checkAborted } from "./abort.ts";
import { type DeviceOptions, openDevice } from "./dawn/open-device.ts";
import type { Device } from "./gpu/device.ts";
import { loadWithMaps } from "./load/load-model.ts";
import type { LoadedModel } from "./model/model.ts";
import { MODEL_RULES, type ModelOptions, openOn } from "./session/open-model.ts";
import type { Session } from "./session/session.ts";

export interface OpenOptions extends ModelOptions {
  /** Part of an adapter's name; the best one otherwise. */
  readonly adapter?: string;
  /** A device that is open already; it stays open when the session is closed. */
  readonly device?: Device;
  /** A `.moe` file with maps that are tried before those of the standard library. */
  readonly map?: string;
}

const OPEN_RULES: Rules<OpenOptions> = {
  ...MODEL_RULES,
  adapter: text,
  device: object("a device, of `openDevice`", "gpu", "facts"),
  map: text,
};

/** Opens a checkpoint on a device. `Session.close` frees everything. Throws a `MoeError` that says what does not fit. */
export async function open(folder: string, options: OpenOptions = {}): Promise<Session> {
  checkOption("open", "folder", folder, needed(text));
  checkOptions("open", options, OPEN_RULES);
  checkAborted("open", options.signal);
  const loaded = await loadWithMaps(folder, options.map);
  try {
    for (const note of loaded.notes) options.onNote?.(note);
    return await openModel(loaded, options);
  } finally {
    await loaded.checkpoint.close();
  }
}

/** The same for a model that was loaded; its checkpoint may be closed afterwards. */
export async function openModel(loaded: LoadedModel, options: OpenOptions = {}): Promise<Session> {
  checkOption("openModel", "loaded", loaded, needed(object("a model, of `loadModel`", "model", "source")));
  checkOptions("openModel", options, OPEN_RULES);
  checkAborted("openModel", options.signal);
  const { adapter, device: given, map: _, ...rest } = options;
  const device = given ?? (await openDevice(deviceOptions(adapter)));
  try {
    const session = await openOn(device, loaded, rest);
    if (given === undefined) session.onClose(() => device.close());
    return session;
  } catch (error) {
    if (given === undefined) device.close();
    throw error;
  }
}

export function deviceOptions(adapter: string | undefined): DeviceOptions {
  return adapter === undefined ? {} : { adapter };
}
