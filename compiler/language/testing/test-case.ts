/**
 * `test` blocks: a subject with its sizes, parameters and inputs set from literals, and expectations. Preparing one finds
 * every mistake in it; running it is one evaluation of its program, on the oracle or on a GPU, and a look at the results.
 */
import type { Expr, TestDecl, TestStatement } from "../../../grammar/ast.ts";
import { suggest } from "../../../grammar/index.ts";
import { LIMITS } from "../../../grammar/limits.ts";
import { textOf, type Span } from "../../../grammar/span.ts";
import { Dim } from "../../graph/dim.ts";
import type { Program } from "../../graph/node.ts";
import { outputNodes, topologicalOrder } from "../../graph/traverse.ts";
import type { Axis, DType, TensorType } from "../../graph/type.ts";
import { formatType, TIME } from "../../graph/type.ts";
import { evaluate, staticEnv } from "../interpret/context.ts";
import type { Context, Env, Purpose } from "../interpret/context.ts";
import { countOf, report } from "../interpret/context.ts";
import { instantiate } from "../interpret/instance.ts";
import { symbolicShape } from "../interpret/shape.ts";
import type { ConstructorValue, Instance } from "../interpret/value.ts";
import { describeValue } from "../interpret/value.ts";
import { tryBuildProgram } from "../model/model.ts";
import type { Value as ArrayValue } from "../../ops/define.ts";
import { elementCount } from "../../ops/typing.ts";
import type { Scope } from "../resolve/scope.ts";
import { type Literal, type ParameterSet, parameterValues } from "./parameters.ts";

export interface TestCase {
  readonly title: string;
  readonly span: Span;
  readonly program: Program;
  readonly inputs: Readonly<Record<string, ArrayValue>>;
  readonly parameters: ReadonlyMap<string, ArrayValue>;
  /** Number of tokens. */
  readonly tokens: number;
  readonly expectations: readonly { readonly value: Expr; readonly span: Span }[];
}

/** Null after reporting into the context what is wrong. */
export function prepareTest(plain: Context, scope: Scope, decl: TestDecl): TestCase | null {
  const [given, rest] = splitPurpose(decl);
  const ctx: Context = { ...plain, purpose: given };
  const env = staticEnv(ctx, scope);
  const subject = evaluate(env, decl.subject);
  if (subject.kind !== "constructor") {
    if (subject.kind !== "error")
      report(
        env,
        "type/not-a-layer",
        "a test is for a layer, router, model or optimizer with its sizes",
        decl.subject.span,
        "not a layer",
      );
    return null;
  }
  const sets = rest.filter((s): s is Extract<TestStatement, { kind: "set" }> => s.kind === "set");
  const inputNames = new Set(subject.decl.forward?.params.map((p) => p.name.text));
  const literals = new Map<string, ParameterSet>();
  for (const { path, value, span } of sets) {
    const literal = readLiteral(env, value);
    if (literal === null) return null;
    const name = textOf(path.span);
    const first = literals.get(name);
    if (first !== undefined) {
      report(env, "name/bound-twice", `\`${name}\` is set twice`, span, "set again here", "remove one of them", [
        { span: first.span, text: "first set here" },
      ]);
      return null;
    }
    literals.set(name, { path, name, literal, span });
  }
  const made = subject.decl.keyword === "optimizer" ? withShape(subject, literals.get("w")?.literal) : subject;
  const instance = instantiate(ctx, made, "", [], decl.subject.span);
  if (instance === null) return null;
  const inputs = inputValues(env, instance, literals);
  if (inputs === null) return null;
  const parameterSets = [...literals.values()].filter(({ name }) => !inputNames.has(name));
  const parameters = parameterValues(env, instance, parameterSets, [...inputNames], decl.span);
  if (parameters === null) return null;
  const program = tryBuildProgram(instance, ctx, inputs.types);
  if (program === null || ctx.bag.hasErrors || !isSmall(env, program, inputs.tokens, decl.span)) return null;
  const expectations = decl.statements.filter(
    (s): s is Extract<TestStatement, { kind: "expect" }> => s.kind === "expect",
  );
  const names = program.main.outputs.filter((o) => o.role !== "accumulator").map((o) => o.name);
  for (const { value } of expectations) if (!checkResultNames(env, value, names)) return null;
  return {
    title: decl.title,
    span: decl.span,
    program,
    inputs: inputs.values,
    parameters,
    tokens: inputs.tokens,
    expectations,
  };
}

/** An optimizer steps what the test sets as `w`; without that the test has no shape, which is told as an input that is not set. */
function withShape(subject: ConstructorValue, w: Literal | undefined): ConstructorValue {
  const shape = (w?.shape ?? []).map((size, i) => ({ name: `axis${i + 1}`, size: Dim.of(size), origin: null }));
  return { ...subject, shape: w === undefined ? symbolicShape(subject.decl) : shape };
}

/** The oracle keeps every value of a test. */
function isSmall(env: Env, { main, functions }: Program, tokens: number, at: Span): boolean {
  for (const fn of [main, ...functions.values()])
    for (const node of topologicalOrder(outputNodes(fn))) {
      const elements = elementCount(node.type).evaluate({ [TIME]: tokens });
      if (elements <= LIMITS.tested) continue;
      report(
        env,
        "shape/too-large",
        `a value in this test would have ${elements} elements, and a test computes with at most ${LIMITS.tested}`,
        node.origin ?? at,
        formatType(node.type),
        "test the layer at smaller sizes",
        [{ span: at, text: "in this test" }],
      );
      return false;
    }
  return true;
}

/** `training = true` and `generating = true` say what the subject's program is for. */
function splitPurpose({ statements }: TestDecl): readonly [Purpose, readonly TestStatement[]] {
  let purpose: Purpose = "evaluate";
  const rest = statements.filter((s) => {
    const name = s.kind === "set" && s.value.kind === "bool" && s.value.value ? pathText(s.path) : "";
    if (name === "training") purpose = "train";
    else if (name === "generating") purpose = "generate";
    else return true;
    return false;
  });
  return [purpose, rest];
}

/** Everything that an expectation names is a result of the program. */
function checkResultNames(env: Env, expr: Expr, results: readonly string[]): boolean {
  switch (expr.kind) {
    case "number":
      return true;
    case "list":
      return expr.items.every((item) => checkResultNames(env, item, results));
    case "unary":
      return checkResultNames(env, expr.value, results);
    case "binary":
      return checkResultNames(env, expr.left, results) && checkResultNames(env, expr.right, results);
    case "call":
      return expr.args.every((arg) => checkResultNames(env, arg.value, results));
    default: {
      const name = pathText(expr);
      if (results.includes(name)) return true;
      const near = suggest(name, results);
      report(
        env,
        "name/unknown",
        `the test has no result \`${name || textOf(expr.span)}\``,
        expr.span,
        "expected here",
        near === null ? `its results are ${results.join(", ")}` : `did you mean \`${near}\`?`,
      );
      return false;
    }
  }
}

export function pathText(path: Expr): string {
  if (path.kind === "name") return path.name.text;
  if (path.kind === "member") return `${pathText(path.object)}.${path.name.text}`;
  return "";
}

export function readLiteral(env: Env, expr: Expr): Literal | null {
  if (expr.kind === "list") {
    const items: Literal[] = [];
    for (const item of expr.items) {
      const literal = readLiteral(env, item);
      if (literal === null) return null;
      items.push(literal);
    }
    const [first] = items;
    if (first === undefined) return { shape: [0], data: new Float64Array(0) };
    const odd = items.findIndex((i) => String(i.shape) !== String(first.shape));
    if (odd > 0) {
      report(
        env,
        "type/ragged-literal",
        "all rows of a literal have the same shape",
        expr.items[odd]!.span,
        `this has shape [${items[odd]!.shape.join(", ")}]`,
        null,
        [{ span: expr.items[0]!.span, text: `this has shape [${first.shape.join(", ")}]` }],
      );
      return null;
    }
    return { shape: [items.length, ...first.shape], data: Float64Array.from(items.flatMap((i) => [...i.data])) };
  }
  // A literal may be long: its numbers are no work.
  if (expr.kind === "number" && Number.isFinite(expr.value)) return { shape: [], data: Float64Array.of(expr.value) };
  const value = evaluate(env, expr);
  if (value.kind === "number") return { shape: [], data: Float64Array.of(value.value) };
  if (value.kind === "axis" && value.size.value !== null) return { shape: [], data: Float64Array.of(value.size.value) };
  if (value.kind !== "error")
    report(
      env,
      "type/not-a-literal",
      "a test sets numbers or nested lists of them",
      expr.span,
      `this is ${describeValue(value)}`,
      "write numbers such as `[[1, 0.5], [-2, 3]]`",
    );
  return null;
}

interface Inputs {
  readonly values: Readonly<Record<string, ArrayValue>>;
  readonly types: ReadonlyMap<string, TensorType>;
  readonly tokens: number;
}

/** Axes of an input come from its declaration; what `..` stands for is one time axis. */
function inputValues(
  env: Env,
  instance: Instance,
  literals: ReadonlyMap<string, { literal: Literal; span: Span }>,
): Inputs | null {
  const values: Record<string, ArrayValue> = {};
  const types = new Map<string, TensorType>();
  let tokens: number | null = null;
  for (const port of instance.decl.forward?.params ?? []) {
    const given = literals.get(port.name.text);
    if (given === undefined) {
      report(
        env,
        "type/missing-argument",
        `the test does not set the input \`${port.name.text}\``,
        env.instance?.span ?? port.span,
        "declared here",
        `write \`${port.name.text} = [...]\``,
      );
      return null;
    }
    const { shape, data } = given.literal;
    const declared = port.type?.kind === "tensor-type" ? port.type.axes.filter((a) => a.kind === "axis") : [];
    const inner: Env = { ...env, instance, locals: new Map(instance.args) };
    const known = declared.flatMap((a): Axis[] => {
      const name = a.size.kind === "name" ? a.size.name.text : "";
      const value = name === TIME ? null : evaluateAxes(inner, a.size);
      return name === TIME ? [timeAxis()] : (value ?? []);
    });
    const lead = shape.length - known.length;
    const rest =
      port.type?.kind === "tensor-type" &&
      port.type.axes.some((a) => a.kind === "rest") &&
      !known.some((a) => a.name === TIME);
    const riding = instance.rest ?? (lead === 1 ? [timeAxis()] : []);
    const axes = rest ? [...riding, ...known] : known;
    if (axes.length !== shape.length) {
      const names = [...(rest ? [".."] : []), ...known.map((a) => a.name)];
      report(
        env,
        "shape/literal-rank",
        `\`${port.name.text}\` is [${names.join(", ")}] and is given a literal with ${countOf(shape.length, "axis", "axes")}`,
        given.span,
        "set here",
        "write one row per token: `x = [[1, 2], [3, 4]]`",
        [{ span: port.span, text: "declared here" }],
      );
      return null;
    }
    for (const [i, axis] of axes.entries()) {
      const size = axis.name === TIME ? (tokens ??= shape[i]!) : axis.size.value;
      if (size !== shape[i]) {
        report(
          env,
          "shape/axis-mismatch",
          `axis \`${axis.name}\` of \`${port.name.text}\` is ${size}, and the literal has ${shape[i]}`,
          given.span,
          "set here",
          axis.name === TIME ? "all inputs have as many tokens" : null,
          axis.origin === null ? [] : [{ span: axis.origin, text: `${size} comes from here` }],
        );
        return null;
      }
    }
    const dtype = (port.type?.kind === "tensor-type" ? (port.type.dtype?.text ?? "f32") : "f32") as DType;
    types.set(port.name.text, { dtype, axes });
    values[port.name.text] = { axes: axes.map((a, i) => ({ name: a.name, size: shape[i]! })), data };
  }
  return { values, types, tokens: tokens ?? 1 };
}

function evaluateAxes(env: Env, expr: Expr): Axis[] | null {
  const value = evaluate(env, expr);
  const list = value.kind === "list" ? value.items : [value];
  const name = expr.kind === "name" ? expr.name.text : "axis";
  return list.every((v) => v.kind === "axis")
    ? list.map((v) => ({
        name: v.kind === "axis" ? (v.label ?? name) : name,
        size: v.kind === "axis" ? v.size : Dim.of(0),
        origin: v.kind === "axis" ? v.origin : null,
      }))
    : null;
}

function timeAxis(): Axis {
  return { name: TIME, size: Dim.of(TIME), origin: null };
}
