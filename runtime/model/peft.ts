/**
 * Adapters, as PEFT saves them: a few small matrices that change a base model, in a folder that may look like a model's. Reading
 * the base alone, or the matrices as weights, would be another model.
 */
import { failure } from "../../grammar/diagnostic.ts";
import { type Folder, readJsonObject } from "../checkpoint/folder.ts";
import type { Checkpoint } from "../checkpoint/store.ts";

const SETTINGS = "adapter_config.json";

/** Kinds that are not matrices on weights, so that no merging makes a model of them. */
const NOT_MERGED = /PROMPT|PREFIX|P_TUNING|POLY|CPT/;

/** Throws `checkpoint/adapter` where a folder has an adapter, alone or beside a model. */
export async function checkNoAdapter(folder: Folder): Promise<void> {
  const settings = await readJsonObject(folder, SETTINGS);
  if (settings === null) return;
  const base = settings["base_model_name_or_path"];
  const of = typeof base === "string" && base !== "" ? `\`${base}\`` : "a model that it does not name";
  const stated = settings["peft_type"];
  const kind = typeof stated === "string" ? stated : "";
  const both = (await folder.list()).includes("config.json");
  throw failure(
    "checkpoint/adapter",
    `${folder.path} has an adapter${kind === "" ? "" : ` (${kind})`} of ${of}${both ? " beside a model" : ", and no model"}`,
    {
      notes: [
        `\`${SETTINGS}\` says so`,
        ...(both
          ? [`where the weights have the adapter in them already, take \`${SETTINGS}\` and the adapter's weights away`]
          : []),
      ],
      help: NOT_MERGED.test(kind)
        ? "give the base model: adapters of this kind cannot be merged into weights"
        : `merge it first, and give the merged model: ${mergeCommand(folder.path)}`,
    },
  );
}

const mergeCommand = (folder: string): string =>
  `python -c "from peft import AutoPeftModelForCausalLM as M; M.from_pretrained('${folder}').merge_and_unload().save_pretrained('merged')"`;

/** The same for weights whose names are those of matrices of an adapter, or of layers that one is wrapped around. */
export function checkMerged({ path, tensors }: Checkpoint): void {
  const found = [...tensors.keys()].find((name) => /\.lora_(?:[AB]|embedding_[AB]|magnitude_vector)\b/.test(name));
  if (found === undefined) return;
  throw failure("checkpoint/adapter", `the weights of ${path} have an adapter beside them: \`${found}\``, {
    help: `merge it first, and give the merged model: \`model.merge_and_unload().save_pretrained("merged")\` with peft`,
  });
}
