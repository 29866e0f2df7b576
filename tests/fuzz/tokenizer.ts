/** tokenizer.json and tokenizer_config.json: loaded, texts made into ids and back, all at once and token by token. */
import { mkdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { loadTokenizer } from "../../runtime/load/load-tokenizer.ts";
import { type Bench, type Input, Nonsense } from "./kind.ts";
import { type Json, mutateJson } from "./mutate-json.ts";
import type { Random } from "./random.ts";
import { settings, tokenizers } from "./tokenizers.ts";

const TEXTS = ["", "ab cd", "<s>abcd  é\n\t'll 123!", `${"a".repeat(20)}!`, "\uD800<unk></s>\u0000 😀 abcabc\r\n\r\n"];

/** What may stand beside the two. */
const BESIDE: Readonly<Record<string, Json>> = {
  "special_tokens_map.json": { bos_token: "<s>", eos_token: { content: "</s>" }, additional_special_tokens: ["<unk>"] },
  "generation_config.json": { bos_token_id: 0, eos_token_id: [1, 2], pad_token_id: -1 },
  "chat_template.json": { chat_template: "{{ x }}" },
};

export async function openTokenizer(folder: string): Promise<Bench> {
  const makes = Object.keys(tokenizers);
  const documents = [...Object.values(tokenizers), settings];
  for (const make of makes) {
    await mkdir(join(folder, make));
    await writeFile(join(folder, make, "tokenizer.json"), JSON.stringify(tokenizers[make]));
    await writeFile(join(folder, make, "tokenizer_config.json"), JSON.stringify(settings));
  }
  return {
    make(random: Random): Input {
      const make = random.pick(makes);
      if (random.chance(0.08)) {
        const [name, beside] = random.pick(Object.entries(BESIDE));
        return { at: `${make}/${name}`, text: mutateJson(beside, random, documents) };
      }
      return random.chance(0.85)
        ? { at: `${make}/tokenizer.json`, text: mutateJson(tokenizers[make]!, random, documents) }
        : { at: `${make}/tokenizer_config.json`, text: mutateJson(settings, random, documents) };
    },
    async run({ at, text }) {
      const [make, name] = at.split("/") as [string, string];
      const sound = { "tokenizer.json": tokenizers[make], "tokenizer_config.json": settings }[name];
      await writeFile(join(folder, at), text);
      try {
        const tokenizer = await loadTokenizer(join(folder, make));
        const { vocabularySize, start, eosIds } = tokenizer;
        const isId = (id: number): boolean => Number.isInteger(id) && id >= 0 && id < vocabularySize;
        if (!Number.isSafeInteger(vocabularySize)) throw new Nonsense("the size of the vocabulary is no count");
        if (!eosIds.every((id) => Number.isInteger(id) && id >= 0)) throw new Nonsense("what ends a text is no id");
        if (!start.every(isId)) throw new Nonsense("what begins a text is no id");
        for (const input of TEXTS) {
          const ids = tokenizer.encode(input);
          if (!Array.isArray(ids) || !ids.every(isId)) throw new Nonsense("a text is encoded to ids that are none");
          if (!tokenizer.encodeText(input).every(isId))
            throw new Nonsense("a whole text is encoded to ids that are none");
          if (typeof tokenizer.decode(ids) !== "string") throw new Nonsense("ids are decoded to no text");
          const stream = tokenizer.stream();
          for (const id of ids) stream.push(id);
          stream.end();
        }
      } finally {
        if (sound === undefined) await rm(join(folder, at));
        else await writeFile(join(folder, at), JSON.stringify(sound));
      }
      return [];
    },
  };
}
