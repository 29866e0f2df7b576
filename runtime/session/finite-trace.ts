/**
 * Where numbers stop being finite: the model runs once more, over the tokens after which its results were not, and what every part is given
 * is looked at. Whatever a kernel keeps inside of itself is not seen: the part named is the one between the last that is given numbers and
 * the first that is not, in the order in which they run.
 */
import { compileModel, givenTo, listParts } from "../../compiler/index.ts";
import type { Diagnostic } from "../../grammar/diagnostic.ts";
import type { Device } from "../gpu/device.ts";
import { findNotFinite } from "../gpu/finite.ts";
import { visitMetrics } from "./metrics.ts";
import type { RunnableModel } from "./open-model.ts";
import { openSession } from "./session.ts";

/** A part that is given numbers, and the greatest of their magnitudes. */
export interface GivenPart {
  readonly part: string;
  readonly largest: number;
}

export interface FiniteTrace {
  /** Where it begins: `blocks[3].mlp.down`; null when everything that any part is given is finite, and it is the last that makes the results. */
  readonly part: string | null;
  /** Counted from 0. */
  readonly token: number;
  /** The first part that is given NaN or infinity. */
  readonly spoilt: string | null;
  /** The last that is given numbers. */
  readonly before: GivenPart | null;
  /** Of parts one after the other, those between which numbers grow the most. */
  readonly growth: readonly [GivenPart, GivenPart] | null;
  /** Weights so large that sums with them may overflow. */
  readonly extremes: readonly string[];
}

/** All parts' values of a step are kept on the device at once. */
const STEP_TOKENS = 32;

/** Runs a model over `ids`. Throws what opening a session throws. */
export async function traceParts(
  { model, source }: RunnableModel,
  ids: ArrayLike<number>,
  device: Device,
): Promise<FiniteTrace> {
  const parts = listParts(model);
  const plan = compileModel(model, { device: device.facts, storage: source.storage, entries: [], given: parts });
  const extremes: string[] = [];
  const onNote = ({ message }: Diagnostic): unknown => extremes.push(message);
  using session = await openSession({ plan, device, source, capacity: ids.length, stepTokens: STEP_TOKENS, onNote });
  const byName = new Map(parts.map((part) => [givenTo(part), part]));
  const seen = new Map<string, Seen>();
  await visitMetrics(
    session,
    [ids],
    ({ name, width }, values, _sequence, first) => {
      const part = byName.get(name);
      if (part === undefined || !(values instanceof Float32Array)) return;
      const own = seen.get(part) ?? { part, largest: 0, spoilt: null };
      seen.set(part, own);
      look(own, values, width, first);
    },
    { isTrace: true },
  );
  return { ...findOrigin([...seen.values()], parts, ids.length), extremes };
}

interface Seen {
  readonly part: string;
  /** Of the finite ones. */
  largest: number;
  /** First token that is given something else. */
  spoilt: number | null;
}

function look(seen: Seen, values: Float32Array, width: number, first: number): void {
  const at = findNotFinite("f32", new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
  if (at !== null) seen.spoilt ??= first + Math.floor(at / width);
  for (const x of values) if (Number.isFinite(x)) seen.largest = Math.max(seen.largest, Math.abs(x));
}

/** `seen` in the order in which parts run; of two that are spoilt, the earlier one is nearer to where it begins. */
function findOrigin(seen: readonly Seen[], parts: readonly string[], tokens: number): Omit<FiniteTrace, "extremes"> {
  const at = seen.findIndex((s) => s.spoilt !== null);
  const sound = at < 0 ? seen : seen.slice(0, at);
  const spoilt = seen[at] ?? null;
  const before = sound.at(-1) ?? null;
  // What is given tokens is not told, and comes first.
  const first = spoilt === null ? null : (parts[parts.indexOf(spoilt.part) - 1] ?? null);
  const given = ({ part, largest }: Seen): GivenPart => ({ part, largest });
  return {
    part: spoilt === null ? null : (before?.part ?? first),
    token: spoilt?.spoilt ?? tokens - 1,
    spoilt: spoilt?.part ?? null,
    before: before && given(before),
    growth: findGrowth(sound.map(given)),
  };
}

/** Growth by less than this is nothing special. */
const STEEP = 1e6;

function findGrowth(parts: readonly GivenPart[]): FiniteTrace["growth"] {
  const ratio = ([a, b]: readonly [GivenPart, GivenPart]): number => b.largest / Math.max(a.largest, 1e-30);
  const pairs = parts.slice(1).map((b, i) => [parts[i]!, b] as const);
  const steepest = pairs.reduce<readonly [GivenPart, GivenPart] | null>(
    (best, pair) => (best === null || ratio(pair) > ratio(best) ? pair : best),
    null,
  );
  return steepest !== null && ratio(steepest) >= STEEP ? steepest : null;
}
