/** What stands in the files of a tokenizer beside its vocabulary: what it puts in front of a text, and chat templates. */
import { cp, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { createCheckpoint } from "../../../runtime/save/write.ts";
import { loadTokenizer } from "../../../runtime/load/load-tokenizer.ts";
import { encodeDocuments } from "../../../runtime/tokenizer/documents.ts";
import { expectFailure, withScratch } from "../checkpoint/scratch.ts";

const seed = "examples/checkpoints/seed";
const LICENCE = [...(await loadTokenizer(seed)).encode("The licence")];

/** A copy of a tokenizer with other settings, and another post-processor where one is given. */
async function withTokenizer(
  settings: object,
  postProcessor: object | null,
  body: (directory: string) => Promise<void>,
): Promise<void> {
  await withScratch(async (directory) => {
    await cp(seed, directory, { recursive: true });
    const path = join(directory, "tokenizer.json");
    const definition = JSON.parse(await readFile(path, "utf8")) as object;
    await writeFile(path, JSON.stringify({ ...definition, post_processor: postProcessor }));
    await writeFile(join(directory, "tokenizer_config.json"), JSON.stringify({ bos_token: "<s>", ...settings }));
    await body(directory);
  });
}

/** `<s> text`, and `text </s>` where that is asked for. */
const template = (front: readonly string[], behind: readonly string[] = []): object => {
  const special = (id: string): object => ({ SpecialToken: { id, type_id: 0 } });
  const single = [...front.map(special), { Sequence: { id: "A", type_id: 0 } }, ...behind.map(special)];
  const tokens = [...front, ...behind].map((id) => [id, { id, ids: [id === "<s>" ? 0 : 1], tokens: [id] }]);
  return { type: "TemplateProcessing", single, pair: single, special_tokens: Object.fromEntries(tokens) };
};

const byteLevel = { type: "ByteLevel", add_prefix_space: true, trim_offsets: false, use_regex: true };

describe("what stands in front of a text is what its tokenizer says", () => {
  test.each([
    ["a token that is only named", {}, null, []],
    ["a token that is not to be added", { add_bos_token: false }, null, []],
    ["a token that is to be added", { add_bos_token: true }, null, [0]],
    ["a post-processor that puts nothing there", {}, byteLevel, []],
    ["a template", {}, template(["<s>"]), [0]],
    ["a template, and settings of the same mind", { add_bos_token: true }, template(["<s>"]), [0]],
    ["a template, and settings of another mind", { add_bos_token: false }, template(["<s>"]), []],
    ["a template of two tokens", {}, template(["</s>", "<s>"]), [1, 0]],
    ["a template that ends a text", {}, template(["<s>"], ["</s>"]), [0]],
    ["a template within a sequence", {}, { type: "Sequence", processors: [byteLevel, template(["<s>"])] }, [0]],
    ["a classifier's tokens", {}, { type: "RobertaProcessing", sep: ["</s>", 1], cls: ["<s>", 0] }, [0]],
  ])("%s", async (_, settings, postProcessor, front) => {
    await withTokenizer(settings, postProcessor, async (directory) => {
      const tokenizer = await loadTokenizer(directory);
      expect(tokenizer.start).toEqual(front);
      expect(tokenizer.encode("The licence")).toEqual(LICENCE);
      expect(tokenizer.encodeText("The licence")).toEqual([...front, ...LICENCE]);
      expect(tokenizer.encodeText("")).toEqual(front);
    });
  });

  test.each([
    ["says nothing: the token that it names", {}, null, [0]],
    ["wants no token there: none", { add_bos_token: false }, null, []],
    ["has a template: what that has", {}, template(["</s>", "<s>"]), [1, 0]],
    ["names no token: none", { bos_token: null }, null, []],
  ])("documents of one text begin, where the tokenizer %s", async (_, settings, postProcessor, front) => {
    await withTokenizer(settings, postProcessor, async (directory) => {
      const tokenizer = await loadTokenizer(directory);
      const both = [...front, ...LICENCE, ...front, ...LICENCE];
      expect([...encodeDocuments("The licence\u001eThe licence", tokenizer)]).toEqual(both);
    });
  });

  test("and it is there once, also where the text writes it itself", async () => {
    await withTokenizer({ add_bos_token: true }, null, async (directory) => {
      const tokenizer = await loadTokenizer(directory);
      expect(LICENCE).toHaveLength(4);
      expect(tokenizer.encodeText("<s>The licence")).toEqual([0, ...LICENCE]);
      expect(tokenizer.encodeText("The <s>")).toEqual([0, ...tokenizer.encode("The <s>")]);
    });
    await withTokenizer({}, template(["</s>", "<s>"]), async (directory) => {
      const tokenizer = await loadTokenizer(directory);
      expect(tokenizer.encodeText("</s><s>The licence")).toEqual([1, 0, ...LICENCE]);
      expect(tokenizer.encodeText("</s>The licence")).toEqual([1, 0, 1, ...LICENCE]);
    });
  });

  test("a template with a token that there is not is refused", async () => {
    await withTokenizer({}, template(["<bos>"]), (directory) =>
      expectFailure(loadTokenizer(directory), "checkpoint/bad-tokenizer", "`<bos>`", directory),
    );
  });
});

describe("chat templates", () => {
  test.each([
    ["a text", "{{ x }}", { default: "{{ x }}" }],
    [
      "a list of texts with names",
      [
        { name: "default", template: "{{ x }}" },
        { name: "tool_use", template: "{{ y }}" },
      ],
      { default: "{{ x }}", tool_use: "{{ y }}" },
    ],
    ["an object of texts", { default: "{{ x }}", rag: "{{ z }}" }, { default: "{{ x }}", rag: "{{ z }}" }],
    ["a list without a default", [{ name: "rag", template: "{{ z }}" }], { rag: "{{ z }}" }],
    ["nothing", null, {}],
  ])("of the settings: %s", async (_, written, read: Record<string, string>) => {
    await withTokenizer({ chat_template: written }, null, async (directory) => {
      const { chatTemplate, chatTemplates } = await loadTokenizer(directory);
      expect(Object.fromEntries(chatTemplates)).toEqual(read);
      expect(chatTemplate).toBe(read["default"] ?? null);
    });
  });

  test("in files of their own come before those of the settings, and are carried along", async () => {
    await withTokenizer({ chat_template: "settings" }, null, async (directory) => {
      await writeFile(join(directory, "chat_template.json"), '{"chat_template":"older"}');
      expect((await loadTokenizer(directory)).chatTemplate).toBe("settings");
      await writeFile(join(directory, "tokenizer_config.json"), "{}");
      expect((await loadTokenizer(directory)).chatTemplate).toBe("older");
      await writeFile(join(directory, "tokenizer_config.json"), '{"chat_template":"settings"}');
      await writeFile(join(directory, "chat_template.jinja"), "file\n");
      await mkdir(join(directory, "additional_chat_templates"));
      await writeFile(join(directory, "additional_chat_templates", "tool_use.jinja"), "tools");
      const expected = {
        chatTemplate: "file\n",
        chatTemplates: new Map([
          ["default", "file\n"],
          ["tool_use", "tools"],
        ]),
      };
      expect(await loadTokenizer(directory)).toMatchObject(expected);

      const target = join(directory, "copy");
      const writer = await createCheckpoint(target, [{ name: "a", dtype: "F32", shape: [1] }]);
      await writer.write("a", new Uint8Array(4));
      await writer.finish("a");
      await writer.copyTokenizer(directory);
      await writer.commit();
      expect(await loadTokenizer(target)).toMatchObject(expected);
      await rm(join(target, "chat_template.jinja"));
      expect((await loadTokenizer(target)).chatTemplate).toBeNull();
    });
  });

  test("that are written as nothing known are refused", async () => {
    await withTokenizer({ chat_template: [{ name: "default" }] }, null, (directory) =>
      expectFailure(loadTokenizer(directory), "checkpoint/bad-tokenizer", "tokenizer_config.json"),
    );
  });
});
