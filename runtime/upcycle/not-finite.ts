/**
 * Why an element that was to be written is no number. Copies are looked at like sums; the sums are made again in float32, all
 * together and term by term, which tells a type that is too small from a source that is damaged.
 */
import type { SourceTerm, Term } from "../../compiler/index.ts";
import { elementBytes, ELEMENTS, ELEMENT_TYPES } from "../checkpoint/element-type.ts";
import { failure } from "../../grammar/diagnostic.ts";
import type { StoredPlace } from "../gpu/parameters.ts";
import { findNotFinite } from "../gpu/finite.ts";
import { evaluateUnit, type Inputs } from "./evaluate.ts";
import { Lane } from "./lane.ts";
import { placesOf } from "./provenance.ts";
import type { Transfer, TransferTensor, Unit } from "./transfer.ts";

/** `checkpoint/overflow` or `checkpoint/not-finite`, with the element, and the tensors that it comes from. */
export async function explainNotFinite(
  tensor: TransferTensor,
  unit: Unit,
  bytes: Uint8Array,
  inputs: Inputs,
  transfer: Transfer,
): Promise<Error> {
  const at = findNotFinite(tensor.dtype, bytes) ?? 0;
  const element = unit.window.start + at;
  const terms = unit.runs.flatMap(({ assignment }) =>
    assignment.terms.flatMap((term) => (term.kind === "source" ? [{ term, assignment }] : [])),
  );
  const places = terms.flatMap(({ term, assignment: { offset, length } }) =>
    placesOf(term, offset, length, transfer.sources[term.source]!),
  );
  const names = [...new Set(places.map(({ tensor: name, file }) => `tensor \`${name}\` of \`${file}\``))];
  const notes = names.length === 0 ? [] : [`it comes from ${names.slice(0, 4).join(", ")}`];
  const valueOf = (changed: Unit): Promise<number> => valueAt(changed, at, inputs);
  const exact = await valueOf(unit);
  const wider = ELEMENT_TYPES.filter((type) => Math.abs(exact) <= ELEMENTS[type].largest);
  wider.sort((a, b) => elementBytes(a) - elementBytes(b));
  if (Number.isFinite(exact))
    return failure(
      "checkpoint/overflow",
      `${tensor.dtype} cannot hold ${textOf(exact)}, element ${element} of \`${tensor.name}\``,
      { notes, help: `store it in a type that can: --dtype ${wider.join(", or --dtype ")}` },
    );
  // What is made of sources in other ways than by adding is not looked into.
  const isSum = unit.runs.every(({ assignment }) => assignment.terms.every((t) => t.kind === "source"));
  const values = isSum ? await Promise.all(terms.map(({ term }) => valueOf(onlyTerm(unit, term)))) : [];
  if (isSum && (values.every(Number.isFinite) || (await areWiderThanFloat32(places, transfer))))
    return failure(
      "checkpoint/overflow",
      `f32 cannot hold element ${element} of \`${tensor.name}\`, which is made of numbers that are finite`,
      { notes, help: "look at the sources' values, and at the weights that the rules give them" },
    );
  return failure("checkpoint/not-finite", `element ${element} of \`${tensor.name}\` would be NaN or infinite`, {
    notes,
    help: "the source is damaged, or its training diverged: fetch or make it again",
  });
}

/** One element of a unit, in float32. */
async function valueAt(unit: Unit, at: number, inputs: Inputs): Promise<number> {
  const bytes = await evaluateUnit(unit, inputs, "f32", new Lane(4 * unit.memory + 4 * unit.window.length));
  return new DataView(bytes.buffer, bytes.byteOffset).getFloat32(4 * at, true);
}

function onlyTerm(unit: Unit, term: SourceTerm): Unit {
  const alone = (all: readonly Term[]): readonly Term[] => (all.includes(term) ? [{ ...term, weight: 1 }] : []);
  const runs = unit.runs.map((run) => ({
    ...run,
    assignment: { ...run.assignment, terms: alone(run.assignment.terms) },
  }));
  return { ...unit, runs };
}

/** Whether all these bytes are numbers of 64 bits that are finite. */
async function areWiderThanFloat32(places: readonly StoredPlace[], { checkpoints }: Transfer): Promise<boolean> {
  for (const { tensor, file, start, end } of places) {
    const checkpoint = checkpoints.find((c) => c.tensors.get(tensor)?.file === file);
    const stored = checkpoint?.tensors.get(tensor);
    if (stored?.dtype !== "F64") return false;
    const bytes = await checkpoint!.readSlice(tensor, start - stored.offset, end - start);
    if (!new Float64Array(bytes.slice().buffer).every(Number.isFinite)) return false;
  }
  return places.length > 0;
}

/** Six digits; large ones with an exponent. */
function textOf(value: number): string {
  const short = Number(value.toPrecision(6));
  return Math.abs(short) < 1e4 ? String(short) : short.toExponential().replace("e+", "e");
}
