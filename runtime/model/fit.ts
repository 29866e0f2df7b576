/**
 * Whether the tensors of a checkpoint are those that a map asks for: each there, in its shape and a type that has values, and none
 * left over. What is wrong is told at once, before any weight is read.
 */
import { encodings, type MapBinding, settingKey, type TensorEntry, type TensorMap } from "../../compiler/index.ts";
import { type Diagnostic, failure } from "../../grammar/diagnostic.ts";
import { suggest } from "../../grammar/index.ts";
import { type DataType, dataTypes } from "../checkpoint/data-type.ts";
import { findBuffer } from "../checkpoint/known-buffers.ts";
import type { Checkpoint } from "../checkpoint/store.ts";
import { checkUnquantized } from "./quantization.ts";

/**
 * Throws `checkpoint/missing-tensor`, `unused-tensor`, `shape`, `encoding` and `quantized`. What is given back says which tensors are left out
 * although that could be seen.
 */
export async function checkTensors(
  checkpoint: Checkpoint,
  { entries, ignored, alike }: TensorMap,
  map: MapBinding,
): Promise<readonly Diagnostic[]> {
  const parts = entries.flatMap(partsOf);
  const missing = parts.filter((part) => !checkpoint.tensors.has(part.name));
  const [first] = missing;
  const used = new Set(parts.map((part) => part.name));
  const left = [...checkpoint.tensors.keys()].filter((name) => !used.has(name) && !ignored(name));
  const buffers = new Set(left.filter((name) => findBuffer(checkpoint.tensors.get(name)!) !== null));
  // As the checkpoint calls them.
  const stored = (name: string): string => checkpoint.tensors.get(name)!.name;
  const { unlisted } = checkpoint.gaps;
  const others = left.filter((name) => !buffers.has(name)).map(stored);
  const unused = others.filter((name) => !unlisted.has(name));
  checkUnquantized(checkpoint.path, others);
  for (const { name, entry } of missing) refuseAbsent(checkpoint, name, entry);
  if (first !== undefined) {
    const near = suggest(first.name, unused.slice(0, 2000));
    const same = alike.find((rule) => rule.matches(first.name));
    const { pieces, stored, span } = first.entry;
    throw failure(
      "checkpoint/missing-tensor",
      `${checkpoint.path} has no tensor \`${first.name}\`${missing.length > 1 ? ` (and ${missing.length - 1} more of its kind are missing)` : ""}`,
      {
        labels: [
          {
            span,
            text: `needed for \`${pieces[0]?.path}\`${stored === null ? "" : `, which is stored as ${stored.encoding}`}`,
          },
        ],
        notes:
          unused.length > 0
            ? [`tensors that the map \`${map.item.name.text}\` does not use: ${listNames(unused)}`]
            : [],
        help:
          same !== undefined
            ? `is the download complete? where \`${first.name}\` is to be \`${same.path}\`, config.json says so: \`${settingKey(map, same.otherwise?.name ?? "") ?? "a setting of its model"}\``
            : near === null
              ? "is the download complete, and is `model_type` in config.json right?"
              : `the checkpoint has \`${near}\`: change the map, or rename the tensor`,
      },
    );
  }
  for (const part of parts) checkPart(checkpoint, part);
  if (unused.length > 0) {
    throw failure(
      "checkpoint/unused-tensor",
      `the map \`${map.item.name.text}\` does not use ${unused.length} tensor${unused.length > 1 ? "s" : ""} of ${checkpoint.path}: ${listNames(unused)}`,
      {
        labels: [{ span: map.item.name.span, text: "in this map" }],
        help: 'map them, or say that they are not needed: `ignore "name"`',
      },
    );
  }
  const passed = others.filter((name) => unlisted.has(name));
  return [...tellGaps(checkpoint, passed), ...(await tellBuffers(checkpoint, buffers))];
}

/** Throws where a tensor that is needed is not where the index puts it, or anywhere else. */
function refuseAbsent(checkpoint: Checkpoint, needed: string, { pieces, span }: TensorEntry): void {
  // Names may be stored behind others, or without their first.
  const { absent } = checkpoint.gaps;
  const name = [...absent.keys()].find((n) => n === needed || n.endsWith(`.${needed}`) || needed.endsWith(`.${n}`));
  const shard = name === undefined ? undefined : absent.get(name);
  if (shard === undefined) return;
  const labels = [{ span, text: `needed for \`${pieces[0]?.path}\`` }];
  if (checkpoint.files.some((file) => file.name === shard))
    throw failure(
      "checkpoint/index-mismatch",
      `\`${shard}\` of ${checkpoint.path} has no tensor \`${name}\`, which the index puts there`,
      { labels, help: `fetch \`${shard}\` and the index again: they are of different versions` },
    );
  throw failure(
    "checkpoint/missing-shard",
    `${checkpoint.path} lacks \`${shard}\`, which has \`${name}\` by the index`,
    { labels, help: `fetch \`${shard}\`: the checkpoint is not complete` },
  );
}

/** An index that lists more or less than the shards hold is no harm where all that is needed is there. */
function tellGaps({ path, gaps }: Checkpoint, passed: readonly string[]): readonly Diagnostic[] {
  const { absent, unlisted } = gaps;
  const tell = (said: string, notes: readonly string[]): Diagnostic => ({
    code: "checkpoint/index-mismatch",
    severity: "warning",
    message: `the index of ${path} ${said}`,
    labels: [],
    notes,
    help: "`moec export` writes a checkpoint whose index is right",
  });
  const unread = passed.length > 0 ? [`of these, nothing reads ${listNames(passed)}`] : [];
  return [
    ...(absent.size === 0
      ? []
      : [tell(`lists ${listNames([...absent.keys()])}, which no file holds and nothing needs`, [])]),
    ...(unlisted.size === 0 ? [] : [tell(`does not list ${listNames([...unlisted])}, which its shards hold`, unread)]),
  ];
}

/** Scales of other programs' caches are nothing to a cache that keeps its values whole, but where they are not 1 that is said. */
async function tellBuffers(checkpoint: Checkpoint, names: Iterable<string>): Promise<readonly Diagnostic[]> {
  const told = new Map<string, string[]>();
  for (const name of names) {
    const { what, onesOnly } = findBuffer(checkpoint.tensors.get(name)!)!;
    if (onesOnly === undefined || (await checkpoint.toFloat32(name)).every((value) => value === 1)) continue;
    told.set(what, [...(told.get(what) ?? []), name]);
  }
  return [...told].map(([what, found]) => ({
    code: "checkpoint/left-out",
    severity: "warning",
    message: `${what} in ${checkpoint.path} are left out: ${listNames(found)}`,
    labels: [],
    notes: ["the caches here keep their values whole, so that nothing has to be scaled"],
    help: null,
  }));
}

/** The first few of a list of names. */
const listNames = (names: readonly string[]): string =>
  `${names.slice(0, 4).join(", ")}${names.length > 4 ? ", ..." : ""}`;

/** All tensors that entries need, by name. */
export const namesOf = (entries: readonly TensorEntry[]): readonly string[] =>
  entries.flatMap((entry) => partsOf(entry).map((part) => part.name));

/** A tensor of the checkpoint that an entry needs. */
interface TensorPart {
  readonly name: string;
  readonly entry: TensorEntry;
  readonly shape: readonly number[];
  /** Types that it may have; null for any with values. */
  readonly dtypes: readonly string[] | null;
}

function partsOf(entry: TensorEntry): readonly TensorPart[] {
  const { tensor, shape, stored } = entry;
  if (stored === null) return [{ name: tensor, entry, shape, dtypes: null }];
  return encodings[stored.encoding].parts.map((part, i) => ({
    name: stored.parts[i]!,
    entry,
    shape: part.shape(shape),
    dtypes: part.dtypes,
  }));
}

/** Throws `checkpoint/shape` and `checkpoint/encoding`. */
function checkPart(checkpoint: Checkpoint, { name, entry, shape, dtypes }: TensorPart): void {
  const { stored } = entry;
  const label = { span: entry.span, text: `mapped to \`${entry.pieces[0]?.path}\` here` };
  const found = checkpoint.tensors.get(name)!;
  const notes = [`in ${found.file}`];
  const refusal = stored === null ? null : encodings[stored.encoding].refuses(entry.shape);
  if (refusal !== null)
    throw failure("checkpoint/encoding", `\`${entry.tensor}\` cannot be stored as ${stored!.encoding}: ${refusal}`, {
      labels: [label],
      notes: [`the config makes it [${entry.shape.join(", ")}]`, ...notes],
      help: "config.json and the weights must be of one model",
    });
  if (String(found.shape) !== String(shape))
    throw failure(
      "checkpoint/shape",
      `tensor \`${name}\` is [${found.shape.join(", ")}], and the config asks for [${shape.join(", ")}]`,
      {
        labels: [label],
        notes: stored === null ? notes : [`part of [${entry.shape.join(", ")}] in ${stored.encoding}`, ...notes],
        help: "config.json and the weights must be of one model",
      },
    );
  if (dtypes === null && isInteger(found.dtype))
    throw failure("checkpoint/encoding", `tensor \`${name}\` is ${found.dtype}, and whole numbers are no weights`, {
      labels: [label],
      notes,
      help: "give the model in bf16, f16 or f32: this one seems to be quantised in a way that is not read here",
    });
  const fits = dtypes?.includes(found.dtype) ?? dataTypes[found.dtype].widen !== null;
  if (!fits)
    throw failure(
      "checkpoint/encoding",
      dtypes === null
        ? `tensor \`${name}\` is ${found.dtype}, whose values mean nothing without scales, and the map finds none`
        : `tensor \`${name}\` is ${found.dtype}, and this part of ${stored!.encoding} is ${dtypes.join(" or ")}`,
      {
        labels: [label],
        notes,
        help:
          dtypes === null
            ? "is the download complete? where scales have other names, the map needs a line `stored`"
            : "convert the checkpoint, or correct the map's line `stored`",
      },
    );
}

/** Types without a fraction: codes of something, until somebody says of what. */
const isInteger = (dtype: DataType): boolean => dataTypes[dtype].widen !== null && dataTypes[dtype].narrow === null;
