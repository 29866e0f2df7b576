/**
 * A loaded model written back: an upcycling of one source with copies only. Unless asked otherwise, tensors keep names, layout
 * and type, so that import and export together change nothing; what was stored in an encoding is written as the numbers that it
 * means, under the names that the map writes.
 */
import { STORING_RULES, commonType, type ElementType } from "../checkpoint/element-type.ts";
import { contiguousView, expandMap, type ExpertLayout, type TensorEntry } from "../../compiler/index.ts";
import { DiagnosticBag } from "../../grammar/diagnostic.ts";
import { checkOption, checkOptions, needed, object, type Rules, whole } from "../../grammar/option.ts";
import { fingerprintOf } from "./fingerprint.ts";
import { makeConfig } from "./written-config.ts";
import { executeTransfer, type ExecuteOptions } from "./execute.ts";
import { BUDGET_BYTES, planTensors, sumTransfer, type Transfer } from "./transfer.ts";
import { embedSource } from "../model/embedded.ts";
import type { LoadedModel } from "../model/model.ts";
import { openWorkspace } from "../load/modules.ts";
import { expandWhole } from "./plan.ts";

export interface ExportOptions {
  /** How to store parameters; unless given, as they are. */
  readonly dtype?: ElementType | undefined;
  /** Among the layouts that the map has; unless given, as they are. */
  readonly layout?: ExpertLayout | undefined;
  /** Bytes of weights to hold at a time. */
  readonly budget?: number | undefined;
}

const EXPORT_RULES: Rules<ExportOptions> = { ...STORING_RULES, budget: whole(1, Number.MAX_SAFE_INTEGER) };

/** Makes the folder `target`. A tensor in another type than f32, f16 and bf16 becomes f32. Throws what `executeTransfer` throws. */
export async function exportModel(loaded: LoadedModel, target: string, options: ExecuteOptions = {}): Promise<void> {
  await executeTransfer(planExport(loaded), target, options);
}

/** Throws `map/one-layout` when the map has no such choice. */
export function planExport(loaded: LoadedModel, options: ExportOptions = {}): Transfer {
  checkOption("planExport", "loaded", loaded, needed(object("a model, of `loadModel`", "model", "source")));
  checkOptions("planExport", options, EXPORT_RULES);
  const { model, map, checkpoint, source } = loaded;
  const { layout, budget = BUDGET_BYTES } = options;
  const isEncoded = loaded.entries.some((entry) => entry.stored !== null);
  const kept = isEncoded ? expandMap(map, model, null, new DiagnosticBag()).entries : loaded.entries;
  const entries = layout === undefined ? kept : expandWhole(map, model, layout);
  const assignments = model.parameters.map(({ path, axes, span }) => {
    const length = axes.reduce((n, axis) => n * axis.size, 1);
    const terms = [{ kind: "source" as const, weight: 1, source: 0, path, view: contiguousView(0, [length]) }];
    return { path, start: 0, length, offset: 0, terms, rule: span };
  });
  const checkpoints = [checkpoint];
  const dtype = ({ pieces }: TensorEntry): ElementType =>
    options.dtype ?? commonType(pieces.map((piece) => source.storage(piece.path)));
  const tensors = planTensors(entries, assignments, { sources: [source], budget, dtype });
  const config = makeConfig(map, model, tensors, loaded);
  const metadata = embedSource(map, model, openWorkspace());
  return {
    tensors,
    sources: [source],
    runs: [],
    checkpoints,
    config,
    metadata,
    fingerprint: fingerprintOf({ entries, dtype, assignments, checkpoints, config, metadata }),
    provenance: {
      upcycling: null,
      sources: [{ name: "source", model: model.name }],
      options: {
        ...(options.dtype === undefined ? {} : { dtype: options.dtype }),
        ...(layout === undefined ? {} : { layout }),
      },
    },
    folder: checkpoint.path,
    ...sumTransfer(tensors),
  };
}
