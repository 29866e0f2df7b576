/**
 * Quantised checkpoints, told by what config.json and files beside it say, before any tensor is looked at. Most ways to quantise
 * are not read here; of those that are (`compiler/weights/map/encoding.ts`), every parameter has to be the one that is read.
 */
import { type ConfigFile, type EncodingName, type Json, keySpan, type MapBinding } from "../../compiler/index.ts";
import { failure } from "../../grammar/diagnostic.ts";
import { walk } from "../../grammar/index.ts";
import { type Folder, readJsonObject } from "../checkpoint/folder.ts";
import { TEXT_PARTS } from "./text-part.ts";

/** Keys that hold what quantised a model: in config.json, or in the part of it that is about text. */
const KEYS = ["quantization_config", "compression_config", "quantization"] as const;
const PARTS: readonly (readonly string[])[] = [[], ...TEXT_PARTS];

/** Files that some programs write instead, with what wrote them. */
const FILES: Readonly<Record<string, string>> = {
  "quantize_config.json": "GPTQ",
  "quant_config.json": "AWQ",
  "hf_quant_config.json": "ModelOpt",
  "quanto_qmap.json": "quanto",
  "quantization_map.json": "quanto",
};

/** Names as their authors write them, by `quant_method`; others are shown as they stand. */
const NAMES: Readonly<Record<string, string>> = {
  gptq: "GPTQ",
  awq: "AWQ",
  bitsandbytes: "bitsandbytes",
  "compressed-tensors": "compressed-tensors",
  modelopt: "ModelOpt",
  mxfp4: "MXFP4",
  mxfp8: "MXFP8",
  nvfp4: "NVFP4",
  fp8: "FP8",
  fbgemm_fp8: "FBGEMM's FP8",
  quanto: "quanto",
  hqq: "HQQ",
  aqlm: "AQLM",
  vptq: "VPTQ",
  eetq: "EETQ",
  torchao: "torchao",
};

/** How some become plain weights again; of others there is only the model that they were made from. */
const UNDONE: Readonly<Record<string, string>> = {
  bitsandbytes: "load it with transformers, call `model.dequantize()`, and save it with `save_pretrained`",
  "compressed-tensors":
    "load it with transformers and `CompressedTensorsConfig(run_compressed=False)`, and save it with `save_pretrained`",
  fp8: "load it with transformers and `FineGrainedFP8Config(dequantize=True)`, and save it with `save_pretrained`",
};

interface Readable {
  readonly encoding: EncodingName;
  /** Values that each of these keys must have, the first being what a missing key means; null: it must be there. */
  readonly required: Readonly<Record<string, readonly (Json | undefined)[]>>;
  /** Keys that change nothing here: which layers are quantised is seen by their tensors. */
  readonly free: readonly string[];
}

/** What is read, by `quant_method`. */
const READABLE: Readonly<Record<string, Readable>> = {
  mxfp4: {
    encoding: "mxfp4",
    required: { block_size: [undefined, 32], group_size: [undefined, 32] },
    free: ["modules_to_not_convert", "dequantize"],
  },
  fp8: {
    encoding: "fp8",
    required: {
      weight_block_size: [[128, 128]],
      fmt: [undefined, "e4m3"],
      activation_scheme: [undefined, "dynamic"],
      scale_fmt: [undefined, "float", "ue8m0"],
    },
    free: ["modules_to_not_convert", "modules_to_convert", "ignored_layers", "dequantize"],
  },
};

/** Throws `checkpoint/quantized` for what is not read; `map`, where it is known already, must say how its tensors are stored. */
export async function checkQuantization(folder: Folder, config: ConfigFile, map: MapBinding | null): Promise<void> {
  for (const place of PARTS) {
    for (const key of KEYS) {
      const path = [...place, key];
      const found = path.reduce<Json | undefined>(
        (json, name) => (isObject(json) ? json[name] : undefined),
        config.json,
      );
      if (!isObject(found) || Object.keys(found).length === 0) continue;
      const problem = findProblem(found, map);
      if (problem === null) return;
      throw refuse(folder.path, nameOf(found), problem, methodOf(found), [
        { span: keySpan(config, path), text: "says so" },
      ]);
    }
  }
  for (const [file, name] of Object.entries(FILES)) {
    const found = (await readJsonObject(folder, file)) as Readonly<Record<string, Json>> | null;
    if (found !== null) throw refuse(folder.path, name, `as \`${file}\` beside its weights says`, methodOf(found), []);
  }
}

/** What programs that quantise call the parts of a weight. */
const PARTS_OF_WEIGHTS =
  /\.(?:qweight|qzeros|g_idx|scales|weight_scale(?:_inv|_2)?|input_scale|weight_packed|weight_zero_point|SCB|absmax|quant_map|quant_state\.\w+|codebooks|W_q|weight\._data|weight\._scale)$/;

/** The same for a checkpoint whose files do not say it: told by tensors that nothing reads. */
export function checkUnquantized(path: string, unread: readonly string[]): void {
  const found = unread.find((name) => PARTS_OF_WEIGHTS.test(name));
  if (found === undefined) return;
  throw failure("checkpoint/quantized", `${path} is quantised in a way that is not read: it has \`${found}\``, {
    notes: ["config.json does not say how"],
    help: "give the model that it was made from, in bf16, f16 or f32",
  });
}

type JsonObject = Readonly<Record<string, Json>>;

const isObject = (json: Json | undefined): json is JsonObject =>
  typeof json === "object" && json !== null && !Array.isArray(json);

/** What is wrong with it, as the end of a sentence; null where all of it is read. */
function findProblem(found: JsonObject, map: MapBinding | null): string | null {
  const method = methodOf(found);
  const readable = Object.hasOwn(READABLE, method) ? READABLE[method]! : null;
  if (readable === null) return "which is not read";
  const { encoding, required, free } = readable;
  for (const [key, values] of Object.entries(required)) {
    const given = found[key] ?? undefined;
    if (values.some((value) => JSON.stringify(value) === JSON.stringify(given))) continue;
    const wanted = values.filter((value) => value !== undefined).map((value) => `\`${JSON.stringify(value)}\``);
    return given === undefined
      ? `which is read with a \`${key}\` of ${wanted.join(" or ")} alone, and this has none`
      : `which is read with a \`${key}\` of ${wanted.join(" or ")} alone, not \`${JSON.stringify(given)}\``;
  }
  const unknown = Object.keys(found).find((key) => key !== "quant_method" && !(key in required) && !free.includes(key));
  if (unknown !== undefined) return `with \`${unknown}\`, which is not understood`;
  if (map !== null && !storesIn(map, encoding))
    return `which the map \`${map.item.name.text}\` has no line \`stored\` for`;
  return null;
}

function storesIn(map: MapBinding, encoding: EncodingName): boolean {
  let found = false;
  walk(map.item, (node) => {
    found ||= node.kind === "stored" && "encoding" in node && node.encoding.text === encoding;
  });
  return found;
}

/** `quant_method`, or what older releases wrote instead. */
function methodOf(found: JsonObject): string {
  const named = found["quant_method"] ?? found["quant_algo"] ?? found["quantization_type"];
  if (typeof named === "string") return named.toLowerCase();
  if ("load_in_4bit" in found || "load_in_8bit" in found) return "bitsandbytes";
  return "";
}

function nameOf(found: JsonObject): string {
  const method = methodOf(found);
  const name = Object.hasOwn(NAMES, method)
    ? NAMES[method]!
    : method === ""
      ? "a method that it does not name"
      : `\`${method}\``;
  const bits = found["bits"] ?? (found["load_in_4bit"] === true ? 4 : found["load_in_8bit"] === true ? 8 : undefined);
  return typeof bits === "number" ? `${name} in ${bits} bits` : name;
}

function refuse(
  path: string,
  name: string,
  problem: string,
  method: string,
  labels: NonNullable<Parameters<typeof failure>[2]>["labels"] & {},
): Error {
  const undone = Object.hasOwn(UNDONE, method) ? UNDONE[method]! : null;
  return failure("checkpoint/quantized", `${path} is quantised with ${name}, ${problem}`, {
    labels,
    help: `give the model that it was made from, in bf16, f16 or f32${undone === null ? "" : `; or ${undone}`}`,
  });
}
