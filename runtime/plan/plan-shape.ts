/**
 * What `plan.json` must be before a plan is made of it: every part of `Plan` in its kind and its bounds, and then consistent, as the
 * compiler's own check has it. A plan may come from anyone, and a runtime does what it says.
 */
import { verifyPlan } from "../../compiler/index.ts";
import { WEIGHT_FORMATS } from "../../compiler/plan/format.ts";
import { STORE_TYPES } from "../../compiler/plan/store.ts";
import { isSizeSymbol, type Plan, SIZE_SYMBOLS } from "../../compiler/plan/plan.ts";
import { isScalarOp } from "../../compiler/plan/scalar.ts";
import { failure } from "../../grammar/diagnostic.ts";
import {
  type Check,
  count,
  describeProblem,
  fields,
  firstProblem,
  isRecord,
  isText,
  type Json,
  listOf,
  name,
  oneOf,
  positive,
  test,
  text,
  truth,
} from "../files/json-shape.ts";

/** Expressions of plans are a few operations deep. */
const MOST_DEPTH = 64;

const OPERATIONS = ["*", "+", "-", "min", "max", "ceil"];

function isSize(value: Json, depth = 0): boolean {
  if (typeof value === "number") return Number.isSafeInteger(value) && value >= 0;
  if (!Array.isArray(value)) return isText(value) && isSizeSymbol(value);
  const [operation, ...parts] = value as readonly Json[];
  return (
    depth < MOST_DEPTH &&
    OPERATIONS.includes(operation as string) &&
    parts.length === 2 &&
    parts.every((part) => isSize(part, depth + 1))
  );
}

function isScalar(value: Json, depth = 0): boolean {
  if (!Array.isArray(value)) return Number.isFinite(value) || isText(value);
  const [operation, ...parts] = value as readonly Json[];
  return (
    depth < MOST_DEPTH && isText(operation) && isScalarOp(operation) && parts.every((part) => isScalar(part, depth + 1))
  );
}

/** Others may stand in a plan that is made beside its runtime; of a plan that is handed in, a step has to know what they are. */
const symbols = Object.keys(SIZE_SYMBOLS).join(", ");
const symbol = test(`a size that a step knows: ${symbols}`, (value) => isText(value) && isSizeSymbol(value));
const size = test(`a whole number, ${symbols}, or an operation on two sizes`, (value) => isSize(value));
const finite = test("a finite number", (value) => Number.isFinite(value));
const three = (check: Check, wanted: string): Check =>
  test(wanted, (value) => Array.isArray(value) && value.length === 3 && value.every((v) => check(v, "") === null));

const orNull =
  (check: Check): Check =>
  (value, path) =>
    value === null ? null : check(value, path);

const device = fields({
  fastWorkgroupMemory: truth,
  manyCores: truth,
  subgroup: orNull(fields({ min: positive, max: positive })),
  f16: truth,
  maxBinding: positive,
  maxBuffer: positive,
  workgroupMemory: positive,
  maxInvocations: positive,
  maxStorageBuffers: positive,
  maxWorkgroups: positive,
});

const names = listOf(name);

/** Of a record, those of its kind. */
const byKind =
  (kinds: Readonly<Record<string, Check>>): Check =>
  (value, path) => {
    const kind = isRecord(value) ? value["kind"] : undefined;
    if (isText(kind) && Object.hasOwn(kinds, kind)) return kinds[kind]!(value, path);
    return { path: `${path}.kind`, wanted: Object.keys(kinds).join(" or "), value: kind };
  };

const parameter = fields({
  path: name,
  axes: listOf(fields({ name, size: positive })),
  storage: oneOf(...WEIGHT_FORMATS),
  layout: byKind({ plain: () => null, matrix: fields({ bank: names, k: names, n: names, split: oneOf("bank", "n") }) }),
  parts: listOf(fields({ start: count, count: positive, bytes: positive })),
});

const binding = byKind({
  step: () => null,
  scalars: () => null,
  buffer: fields({ id: name }),
  parameter: fields({ path: name, part: count }),
  table: fields({ id: name }),
  state: fields({ id: name }),
});

const constants: Check = (value, path) =>
  fields({})(value, path) ??
  firstProblem(Object.entries(value as object), ([key, number]) =>
    Number.isFinite(number) ? null : { path: `${path}.${key}`, wanted: "a number", value: number },
  );

const dispatch = fields({
  kind: oneOf("dispatch"),
  module: name,
  bindings: listOf(binding),
  grid: three(size, "three sizes"),
  constants,
  label: text,
  origin: orNull(text),
  flops: size,
  bytes: size,
});

const step = byKind({ dispatch, repeat: fields({ indices: listOf(count), steps: listOf(dispatch) }) });

const plan = fields({
  model: text,
  stepTokens: positive,
  symbols: listOf(symbol),
  scalars: listOf(fields({ id: name, expr: test("an expression", (v) => isScalar(v)) })),
  device,
  parameters: listOf(parameter),
  tables: listOf(
    fields({ id: name, axes: listOf(fields({ name, size })), expr: test("an expression", (v) => isScalar(v)) }),
  ),
  states: listOf(fields({ id: name, elements: size, store: oneOf(...STORE_TYPES), bytesPerToken: count })),
  buffers: listOf(
    fields({
      id: name,
      role: oneOf("input", "per-sequence", "output", "temporary", "kept"),
      name: text,
      type: oneOf("f32", "u32", "i32"),
      elements: size,
      store: oneOf(...STORE_TYPES),
      share: orNull(name),
      kept: orNull(fields({ reset: oneOf("run", "step"), initial: finite, of: orNull(name) })),
    }),
  ),
  modules: listOf(
    fields({
      id: name,
      file: name,
      workgroup: three(positive, "three whole numbers from 1"),
      bindings: listOf(oneOf("uniform", "read", "write")),
      features: listOf(oneOf("subgroups", "shader-f16")),
    }),
  ),
  entries: listOf(
    fields({
      name,
      output: name,
      regime: oneOf("prefill", "decode", "whole"),
      phase: oneOf("infer", "micro", "update"),
      inputs: names,
      outputs: names,
      steps: listOf(step),
    }),
  ),
});

const AGAIN = "compile the model again: `moec build`";

/** Throws `plan/unreadable` with the first place of `file` that is not what a plan has there. */
export function checkPlanShape(json: Json, file: string): void {
  const problem = plan(json, "");
  if (problem !== null) throw failure("plan/unreadable", ...told(describeProblem(problem, file)));
}

/** Throws `plan/unreadable` when parts of a plan do not fit together. */
export function checkPlanSound(loaded: Plan, file: string): void {
  const problems = verifyPlan(loaded);
  if (problems.length === 0) return;
  throw failure(
    "plan/unreadable",
    ...told({ message: `the parts of \`${file}\` do not fit together`, notes: problems.slice(0, 4) }),
  );
}

const told = ({ message, notes }: { message: string; notes: readonly string[] }) =>
  [message, { notes, help: AGAIN }] as const;
