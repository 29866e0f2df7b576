/** What stands beside the weights of a checkpoint and makes it one: config.json, the tokenizer, settings for generation. */
import { join } from "node:path";
import { readBytesIfAny, recode } from "../files/read.ts";
import type { CheckpointWriter } from "./write.ts";

const GENERATION = "generation_config.json";

/** `config`: the text of config.json; all else is that of the checkpoint in `folder`, where there is one. */
export async function addCompanions(writer: CheckpointWriter, config: string, folder: string | null): Promise<void> {
  await writer.addFile("config.json", config);
  if (folder === null) return;
  await writer.copyTokenizer(folder);
  const generation = recode("checkpoint/unreadable", () => readBytesIfAny(join(folder, GENERATION)));
  if (generation !== null) await writer.addFile(GENERATION, generation);
}
