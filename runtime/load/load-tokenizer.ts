/** The tokenizer in a folder on this machine; what it does ends in time. */
import { checkOption, needed, text } from "../../grammar/option.ts";
import { readTokenizer, type Tokenizer } from "../tokenizer/tokenizer.ts";
import { diskFolder } from "./disk-folder.ts";
import { limitTime } from "./time-limit.ts";

/** Throws what `readTokenizer` throws. */
export async function loadTokenizer(folder: string): Promise<Tokenizer> {
  checkOption("loadTokenizer", "folder", folder, needed(text));
  return readTokenizer(diskFolder(folder), limitTime);
}
