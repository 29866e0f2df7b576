/**
 * Parameters given from outside instead of by a rule: `blocks[l].ffn.pick.score.w` is a stack of them, one per value of its
 * index variables, whose axes come in front. A tensor fits when its axes are those of the stack, neighbours joined or not.
 */
import { staticEnv } from "../../language/interpret/context.ts";
import { DiagnosticBag, MoeError } from "../../../grammar/diagnostic.ts";
import type { Span } from "../../../grammar/span.ts";
import { withoutPrimes } from "../../graph/type.ts";
import { resolvePath } from "../map/path.ts";
import { parsePath } from "../map/path-text.ts";
import { newContext } from "../../language/model/model.ts";
import type { Upcycling } from "./expand.ts";
import type { Assignment } from "./recipe.ts";
import { runsOf } from "./runs.ts";
import { contiguousView } from "./view.ts";

export interface Override {
  /** Where the path is written: the text of an option. */
  readonly path: Span;
  /** Number of the source that holds the tensor; after those of the declaration. */
  readonly source: number;
  readonly tensor: string;
  readonly shape: readonly number[];
}

/** The assignments with overrides in place of what rules gave to the same elements; later ones win. Throws `MoeError`. */
export function applyOverrides(upcycling: Upcycling, overrides: readonly Override[]): readonly Assignment[] {
  const given = overrides.flatMap((override) => {
    const bag = new DiagnosticBag();
    const assignments = expandOverride(upcycling, override, bag);
    // A wrong name is wrong in every layer: the first says it all.
    if (bag.hasErrors) throw new MoeError(bag.list[0]!);
    return assignments;
  });
  return given.reduce((all, one) => [...all.flatMap((a) => subtract(a, one)), one], upcycling.assignments);
}

function expandOverride({ target, scope }: Upcycling, override: Override, bag: DiagnosticBag): readonly Assignment[] {
  const { path, tensor, shape, source } = override;
  const expr = parsePath(path);
  if (expr === null) {
    bag.error(
      "upcycle/bad-set",
      "this is not the path of a parameter",
      [{ span: path, text: "" }],
      "write names with dots between them, such as `blocks[l].ffn.pick.score.w`",
    );
    return [];
  }
  const env = staticEnv(newContext("build", bag), scope);
  const found = resolvePath(env, target.instance, expr, { indices: new Map(), layers: new Map() });
  const [first] = found;
  if (first === undefined) return [];
  if (first.kind !== "parameter") {
    const inside = runsOf(first).map((run) => run.relative);
    const names = inside.slice(0, 4).join(", ");
    bag.error(
      "upcycle/bad-set",
      "this is the path of a layer, and a tensor can only be a parameter",
      [{ span: path, text: "" }],
      `name one of its parameters: ${names}${inside.length > 4 ? ", ..." : ""}`,
    );
    return [];
  }
  const runs = found.flatMap(runsOf);
  const outer = [...first.indices.keys()].map((name) => 1 + Math.max(...found.map((f) => f.indices.get(name)!)));
  const sizes = [...outer, ...runs[0]!.sizes];
  if (!isJoined(shape, sizes)) {
    const names = [
      ...first.indices.keys(),
      ...first.parameter.axes.map((a) => a.name).filter((n) => !first.banks.has(n)),
    ];
    bag.error(
      "upcycle/set-shape",
      `the parameters are [${sizes.join(", ")}], and the tensor \`${tensor}\` is [${shape.join(", ")}]`,
      [{ span: path, text: `axes [${names.map(withoutPrimes).join(", ")}]` }],
      "give a tensor with the axes of the index variables first, then those of the parameter",
    );
    return [];
  }
  return runs.map((run, i) => {
    const length = run.sizes.reduce((a, b) => a * b, 1);
    const view = contiguousView(i * length, [length]);
    const terms = [{ kind: "source" as const, weight: 1, source, path: tensor, view }];
    return { path: run.path, start: run.start, length, offset: 0, terms, rule: path };
  });
}

/** Whether `shape` is `sizes` with neighbouring axes multiplied together. */
function isJoined(shape: readonly number[], sizes: readonly number[]): boolean {
  const products = (list: readonly number[]): readonly number[] =>
    list.map((_, i) => list.slice(i).reduce((a, b) => a * b, 1));
  const known = new Set([...products(sizes), 1]);
  return products(shape)[0] === products(sizes)[0] && products(shape).every((n) => known.has(n));
}

/** What is left of an assignment beside the elements that another one gives. */
function subtract(from: Assignment, other: Assignment): readonly Assignment[] {
  const [start, end] = [from.start, from.start + from.length];
  const [cut, cutEnd] = [Math.max(start, other.start), Math.min(end, other.start + other.length)];
  if (from.path !== other.path || cut >= cutEnd) return [from];
  return [sliceAssignment(from, 0, cut - start), sliceAssignment(from, cutEnd - start, end - cutEnd)].filter(
    (a) => a.length > 0,
  );
}

/** Elements `offset ..< offset + length` of an assignment, by themselves. */
export function sliceAssignment(from: Assignment, offset: number, length: number): Assignment {
  return { ...from, start: from.start + offset, length, offset: from.offset + offset };
}
