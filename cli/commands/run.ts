/** `moec run`: logits of given token ids, for comparing with other implementations. */
import type { Command } from "commander";
import { failure } from "../../grammar/index.ts";
import { encodeHeader } from "../../runtime/checkpoint/safetensors-header.ts";
import { readText, recode } from "../../runtime/files/read.ts";
import { checkReplaceable, replaceFile } from "../../runtime/files/replace.ts";
import { humanTime, plural, printJson, say } from "../output.ts";
import { addSessionOptions, addTraceOption, filesOf, type SessionFlags, withSession } from "../session.ts";

interface Options extends SessionFlags {
  readonly ids: string;
  readonly logits: string;
  readonly json?: true;
}

export function registerRun(program: Command): void {
  addTraceOption(addSessionOptions(program.command("run")))
    .description("write the logits of token ids: one full forward pass")
    .requiredOption("--ids <file>", "JSON: a list of equally long lists of token ids")
    .requiredOption("--logits <file>", "safetensors file to write `logits` to, f32 [sequences, tokens, vocabulary]")
    .option("--json", "print shape and time as JSON")
    .addHelpText("after", "\nExample:\n  moec run examples/checkpoints/seed --ids ids.json --logits logits.safetensors")
    .action(runForward);
}

async function runForward(folder: string, options: Options): Promise<void> {
  const batch = readIds(options.ids);
  const [first] = batch;
  const length = first!.length;
  const inputs = [options.ids, ...(options.map === undefined ? [] : [options.map])];
  await withSession(
    folder,
    options,
    (loaded) => {
      inputs.push(...filesOf(loaded));
      checkReplaceable(options.logits, inputs);
      return { capacity: length, sequences: 1 };
    },
    async (session) => {
      checkIds(options.ids, batch, session.vocab);
      const start = performance.now();
      const rows = await session.forward(batch);
      const milliseconds = performance.now() - start;
      const shape = [batch.length, length, session.vocab];
      const header = encodeHeader([{ name: "logits", dtype: "F32", shape }], { format: "pt" });
      const content = rows.map((r) => new Uint8Array(r.buffer, r.byteOffset, r.byteLength));
      replaceFile(options.logits, [header, ...content], { inputs });
      if (options.json) printJson({ logits: options.logits, shape, milliseconds });
      else
        say(
          `wrote logits [${shape.join(", ")}] of ${plural(batch.length * length, "token")} to ${options.logits} in ${humanTime(milliseconds)}`,
        );
    },
  );
}

/** Throws `cli/bad-ids` with the place of what is wrong. */
function readIds(path: string): readonly (readonly number[])[] {
  const wrong = (message: string): Error =>
    failure("cli/bad-ids", `${path}: ${message}`, {
      help: "write a list of equally long lists, e.g. [[1, 5, 9], [1, 7, 2]]",
    });
  const text = recode("cli/no-file", () => readText(path));
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw wrong(`it is not JSON: ${(cause as Error).message}`);
  }
  if (!Array.isArray(json) || json.length === 0) throw wrong("it is not a list of lists");
  for (const [i, row] of json.entries()) {
    if (!Array.isArray(row) || row.length === 0) throw wrong(`entry ${i} is not a list of ids`);
    const at = row.findIndex((id) => !Number.isInteger(id));
    if (at >= 0) throw wrong(`id ${at} of list ${i} is ${JSON.stringify(row[at])}, not a whole number`);
    const length = (json[0] as readonly unknown[]).length;
    if (row.length !== length) throw wrong(`list ${i} has ${plural(row.length, "id")}, and list 0 has ${length}`);
  }
  return json as number[][];
}

function checkIds(path: string, batch: readonly (readonly number[])[], vocabulary: number): void {
  for (const [i, row] of batch.entries()) {
    const at = row.findIndex((id) => id < 0 || id >= vocabulary);
    if (at >= 0)
      throw failure(
        "cli/bad-ids",
        `${path}: id ${at} of list ${i} is ${row[at]}, and the vocabulary has ${vocabulary}`,
        { help: "were these ids made by this model's tokenizer?" },
      );
  }
}
