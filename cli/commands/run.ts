/** `moec run`: logits of given token ids, or gradients of their loss, for comparing with other implementations. */
import { type Command, Option } from "commander";
import { failure } from "../../grammar/index.ts";
import { encodeHeader } from "../../runtime/checkpoint/safetensors-header.ts";
import { readText, recode } from "../../runtime/files/read.ts";
import { checkReplaceable, replaceFile } from "../../runtime/files/replace.ts";
import { humanTime, plural, printJson, say } from "../output.ts";
import { addSessionOptions, addTraceOption, filesOf, type SessionFlags, withDevice, withSession } from "../session.ts";

interface Options extends SessionFlags {
  readonly ids: string;
  readonly logits?: string;
  readonly gradients?: string;
  readonly json?: true;
}

type Batch = readonly (readonly number[])[];

export function registerRun(program: Command): void {
  addTraceOption(addSessionOptions(program.command("run")))
    .description("write the logits of token ids (one full forward pass), or the gradients of their loss")
    .requiredOption("--ids <file>", "JSON: a list of equally long lists of token ids")
    .option("--logits <file>", "safetensors file to write `logits` to, f32 [sequences, tokens, vocabulary]")
    .addOption(
      new Option(
        "--gradients <file>",
        "safetensors file to write `loss` and its gradient by every tensor to, as training computes them: of one micro-batch",
      ).conflicts(["logits", "traceFinite"]),
    )
    .option("--json", "print what was written, and the time, as JSON")
    .addHelpText(
      "after",
      "\nExamples:\n  moec run examples/checkpoints/seed --ids ids.json --logits logits.safetensors\n  moec run examples/checkpoints/seed --ids ids.json --gradients gradients.safetensors",
    )
    .action(run);
}

async function run(folder: string, options: Options): Promise<void> {
  const { logits, gradients } = options;
  const batch = readIds(options.ids);
  if (logits !== undefined) return runForward(folder, batch, logits, options);
  if (gradients !== undefined) return runGradients(folder, batch, gradients, options);
  throw failure("cli/nothing-to-do", "nothing is asked for of these ids", {
    help: "give --logits FILE, or --gradients FILE",
  });
}

/** What is read besides the checkpoint. */
const inputsOf = ({ ids, map }: Options): readonly string[] => [ids, ...(map === undefined ? [] : [map])];

async function runForward(folder: string, batch: Batch, out: string, options: Options): Promise<void> {
  const length = batch[0]!.length;
  const inputs = [...inputsOf(options)];
  await withSession(
    folder,
    options,
    (loaded) => {
      inputs.push(...filesOf(loaded));
      checkReplaceable(out, inputs);
      return { capacity: length, sequences: 1 };
    },
    async (session) => {
      checkIds(options.ids, batch, session.vocab);
      const start = performance.now();
      const rows = await session.forward(batch);
      const milliseconds = performance.now() - start;
      const shape = [batch.length, length, session.vocab];
      const header = encodeHeader([{ name: "logits", dtype: "F32", shape }], { format: "pt" });
      replaceFile(out, [header, ...rows.map(bytesOf)], { inputs });
      if (options.json) printJson({ logits: out, shape, milliseconds });
      else
        say(
          `wrote logits [${shape.join(", ")}] of ${plural(batch.length * length, "token")} to ${out} in ${humanTime(milliseconds)}`,
        );
    },
  );
}

async function runGradients(folder: string, batch: Batch, out: string, options: Options): Promise<void> {
  const length = batch[0]!.length;
  if (length < 2)
    throw failure("cli/bad-ids", `${options.ids}: a sequence of one token predicts nothing`, {
      help: "give two or more ids in each list",
    });
  const { gradientsOf } = await import("../../runtime/training/gradients.ts");
  const { checkPlain, layOutGradients } = await import("../../runtime/training/gradient-tensors.ts");
  await withDevice(folder, options, length, async (loaded, openDevice) => {
    const { checkpoint, entries } = loaded;
    const inputs = [...inputsOf(options), ...filesOf(loaded)];
    checkReplaceable(out, inputs);
    checkPlain(checkpoint, entries);
    const start = performance.now();
    const { loss, terms, gradients } = await gradientsOf(await openDevice(), loaded, batch);
    const milliseconds = performance.now() - start;
    const { tensors, without } = layOutGradients(checkpoint, entries, gradients);
    const all = [
      ...[["loss", loss] as const, ...terms].map(([name, value]) => ({
        name,
        shape: [],
        values: Float32Array.of(value),
      })),
      ...tensors.map((tensor) => ({ ...tensor, name: `grad.${tensor.name}` })),
    ];
    const header = encodeHeader(
      all.map(({ name, shape }) => ({ name, dtype: "F32", shape })),
      { format: "pt" },
    );
    replaceFile(out, [header, ...all.map(({ values }) => bytesOf(values))], { inputs });
    if (options.json)
      return printJson({
        gradients: out,
        loss,
        terms: Object.fromEntries(terms),
        tensors: tensors.length,
        without,
        milliseconds,
      });
    say(
      `wrote the loss, ${loss.toFixed(4)}, and ${plural(tensors.length, "gradient")} of ${plural(batch.length * length, "token")} to ${out} in ${humanTime(milliseconds)}`,
    );
    if (without.length > 0) say(`no part in the loss have ${without.join(", ")}`);
  });
}

const bytesOf = ({ buffer, byteOffset, byteLength }: Float32Array): Uint8Array =>
  new Uint8Array(buffer, byteOffset, byteLength);

/** Throws `cli/bad-ids` with the place of what is wrong. */
function readIds(path: string): Batch {
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

function checkIds(path: string, batch: Batch, vocabulary: number): void {
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
