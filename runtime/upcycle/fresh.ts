/**
 * A model that nobody has trained: every parameter from its initialiser, written as the map of its family says. The same seed gives the same
 * bits, whatever the machine; an initialiser that names its own seed keeps it.
 */
import { contiguousView, type MapBinding, type Model, type Workspace } from "../../compiler/index.ts";
import { checkOption, checkOptions, needed, object, orNull, type Rules, text, whole } from "../../grammar/option.ts";
import { STORING_RULES, type ElementType } from "../checkpoint/element-type.ts";
import { mapsIn } from "../load/modules.ts";
import { parseConfig } from "../model/config-file.ts";
import { embedSource } from "../model/embedded.ts";
import { fingerprintOf } from "./fingerprint.ts";
import { expandWhole } from "./plan.ts";
import { findTargetMap } from "./target.ts";
import { planTensors, sumTransfer, type Transfer } from "./transfer.ts";
import { makeConfig } from "./written-config.ts";

export interface FreshOptions {
  readonly seed: number;
  /** The checkpoint whose tokenizer goes along; null: none. */
  readonly tokenizer: string | null;
  /** How parameters are stored; default f32. */
  readonly dtype?: ElementType;
  /** Maps that are tried before those of the standard library. */
  readonly maps?: readonly MapBinding[];
}

const { dtype: DTYPE } = STORING_RULES;

const FRESH_RULES: Rules<FreshOptions> = {
  seed: needed(whole(0, Number.MAX_SAFE_INTEGER)),
  tokenizer: needed(orNull(text)),
  dtype: DTYPE,
  maps: { allowed: "a list of maps", accepts: Array.isArray },
};

/** To be executed by `executeTransfer`. Throws `upcycle/no-map` where no map can store the model. */
export function planFresh(model: Model, workspace: Workspace, options: FreshOptions): Transfer {
  checkOption("planFresh", "model", model, needed(object("a model", "parameters", "instance")));
  checkOptions("planFresh", options, FRESH_RULES);
  const { seed, tokenizer, dtype: type = "f32", maps = [] } = options;
  const map = findTargetMap(workspace, model, [...maps, ...mapsIn(model.instance.scope)]);
  const entries = expandWhole(map, model, null);
  const assignments = model.parameters.map(({ path, axes, span, init }) => {
    const length = axes.reduce((n, axis) => n * axis.size, 1);
    const view = contiguousView(0, [length]);
    const own = "seed" in init ? { ...init, seed: init.seed ?? seed } : init;
    return {
      ...{ path, start: 0, length, offset: 0, rule: span },
      terms: [{ kind: "fresh" as const, weight: 1, init: own, path, view }],
    };
  });
  const dtype = (): ElementType => type;
  const tensors = planTensors(entries, assignments, { sources: [], dtype });
  const config = makeConfig(map, model, tensors, { config: parseConfig("config.json", "{}"), map });
  const metadata = embedSource(map, model, workspace);
  return {
    tensors,
    ...{ sources: [], runs: [], checkpoints: [], config, metadata },
    fingerprint: fingerprintOf({ entries, dtype, assignments, checkpoints: [], config, metadata }),
    provenance: { upcycling: null, sources: [], options: { seed, dtype: type } },
    folder: tokenizer,
    ...sumTransfer(tensors),
  };
}
