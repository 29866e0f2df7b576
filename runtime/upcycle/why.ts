/** Reads `moec.provenance.json` back: which of its records are about a parameter, or about a tensor. */
import { diskFolder } from "../load/disk-folder.ts";
import { locateParameters } from "../../compiler/index.ts";
import { failure } from "../../grammar/diagnostic.ts";
import { checkOption, needed, object, text } from "../../grammar/option.ts";
import { PROVENANCE_NAME } from "../save/own-files.ts";
import { readJsonObject } from "../checkpoint/folder.ts";
import { loadWithMaps } from "../load/load-model.ts";
import { type PartRecord, type Provenance, type TensorRecord } from "./provenance.ts";

/** A tensor, and those of its parts that were asked for. */
export interface Trace {
  readonly tensor: string;
  readonly record: TensorRecord;
  readonly parts: readonly PartRecord[];
}

/** Throws `checkpoint/no-provenance` for a folder that moec did not write, `checkpoint/bad-json` for a file that is not its. */
export async function readProvenance(folder: string): Promise<Provenance> {
  checkOption("readProvenance", "folder", folder, needed(text));
  const from = diskFolder(folder);
  const json = await readJsonObject(from, PROVENANCE_NAME);
  if (json === null)
    throw failure("checkpoint/no-provenance", `\`${folder}\` has no \`${PROVENANCE_NAME}\``, {
      help: "only checkpoints that `moec upcycle` or `moec export` made can say where they come from",
    });
  const { format, sources, rules, tensors } = json as Partial<Provenance>;
  const isWhole = Array.isArray(sources) && Array.isArray(rules) && typeof tensors === "object" && tensors !== null;
  if (!isWhole || !String(format).startsWith("moec.provenance/1"))
    throw failure(
      "checkpoint/bad-json",
      `\`${from.pathOf(PROVENANCE_NAME)}\` is not a provenance that this moec reads`,
      {
        help: "was it written by a later moec, or changed by hand?",
      },
    );
  return json as unknown as Provenance;
}

/** `path` is a tensor's name, or a path of the model such as `blocks[3].ffn.experts[1].up.w`; a layer stands for all below it. */
export async function traceOrigin(
  folder: string,
  provenance: Provenance,
  path: string,
  map?: string,
): Promise<readonly Trace[]> {
  checkOption("traceOrigin", "folder", folder, needed(text));
  checkOption("traceOrigin", "provenance", provenance, needed(object("what `readProvenance` gave", "tensors")));
  checkOption("traceOrigin", "path", path, needed(text));
  checkOption("traceOrigin", "map", map, text);
  const all = Object.entries(provenance.tensors);
  const named = Object.hasOwn(provenance.tensors, path) ? provenance.tensors[path] : undefined;
  if (named !== undefined) return [{ tensor: path, record: named, parts: named.parts }];
  const { model, checkpoint } = await loadWithMaps(folder, map);
  await checkpoint.close();
  const runs = locateParameters(model, { path: "PATH", text: path });
  return all.flatMap(([tensor, record]) => {
    const parts = record.parts.filter((part) =>
      runs.some(({ path: parameter, start, sizes }) => {
        const end = start + sizes.reduce((a, b) => a * b, 1);
        return part.parameter === parameter && part.start < end && part.start + part.length > start;
      }),
    );
    return parts.length === 0 ? [] : [{ tensor, record, parts }];
  });
}
