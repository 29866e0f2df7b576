/** Where numbers stop being finite, on a device that is opened for it unless one is given: what `--trace-finite` shows. */
import { type Diagnostic, MoeError } from "../grammar/diagnostic.ts";
import { checkOption, checkOptions, ids as idList, needed, object, type Rules, text } from "../grammar/option.ts";
import { openDevice } from "./dawn/open-device.ts";
import type { Device } from "./gpu/device.ts";
import { type FiniteTrace, traceParts } from "./session/finite-trace.ts";
import type { RunnableModel } from "./session/open-model.ts";
import type { NotFinite } from "./session/not-finite.ts";

export interface TraceOptions {
  /** Part of an adapter's name; the best one otherwise. */
  readonly adapter?: string | undefined;
  /** A device that is open already; it stays open. */
  readonly device?: Device | undefined;
}

const TRACE_RULES: Rules<TraceOptions> = {
  adapter: text,
  device: object("a device, of `openDevice`", "gpu", "facts"),
};

/** Runs a model over `ids`. Throws what opening a session throws. */
export async function traceFinite(
  loaded: RunnableModel,
  ids: ArrayLike<number>,
  options: TraceOptions = {},
): Promise<FiniteTrace> {
  checkOption("traceFinite", "loaded", loaded, needed(object("a model, of `loadModel`", "model", "source")));
  checkOption("traceFinite", "ids", ids, needed(idList));
  checkOptions("traceFinite", options, TRACE_RULES);
  const { adapter, device = await openDevice(adapter === undefined ? {} : { adapter }) } = options;
  try {
    return await traceParts(loaded, ids, device);
  } finally {
    if (options.device === undefined) device.close();
  }
}

/** The same error with the layer where it begins: what `--trace-finite` shows. */
export async function explainNotFinite(
  error: NotFinite,
  loaded: RunnableModel,
  options: TraceOptions = {},
): Promise<MoeError> {
  const [diagnostic] = error.diagnostics as readonly [Diagnostic];
  const { part, token, spoilt, before, growth, extremes } = await traceFinite(loaded, error.ids, options);
  const large = (x: number): string => `numbers up to ${x.toPrecision(3)}`;
  const where =
    part !== null
      ? `this begins in \`${part}\`, at token ${token}`
      : `every part is given numbers, and what follows \`${before?.part ?? loaded.model.name}\` makes them`;
  return new MoeError({
    ...diagnostic,
    message: `${diagnostic.message}: ${where}`,
    notes: [
      ...(before === null
        ? []
        : [
            `\`${before.part}\` is given ${large(before.largest)}${spoilt === null ? "" : `; \`${spoilt}\`, which comes next, is given NaN or infinity`}`,
          ]),
      ...(growth === null
        ? []
        : [
            `they grow from what \`${growth[0].part}\` is given, ${large(growth[0].largest)}, to what \`${growth[1].part}\` is given, ${large(growth[1].largest)}`,
          ]),
      ...extremes,
    ],
    help: "look at the weights from there back: they are damaged, or were merged or trained until they passed what float32 holds",
  });
}
