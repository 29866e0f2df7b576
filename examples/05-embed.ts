/** moec as a library: opens a checkpoint on the best adapter there is and streams text. Elsewhere the import is `from "moec"`. */
import { join } from "node:path";
import { loadTokenizer, open } from "../index.ts";

const folder = process.argv[2] ?? join(import.meta.dirname, "checkpoints", "seed");
const tokenizer = await loadTokenizer(folder);
const session = await open(folder, { capacity: 256 });

const prompt = tokenizer.encodeText("The following example");
const words = tokenizer.stream();
for await (const { token } of session.generate({ prompts: [prompt], maxTokens: 40, temperature: 0.8, seed: 1 })) {
  process.stdout.write(words.push(token));
}
process.stdout.write(`${words.end()}\n`);
session.close();
