/**
 * Reads the text form of `print.ts`, for tests and for looking at a pass by hand. It keeps the types as written:
 * whether they hold is the verifier's question. Throws `SyntaxError` with the line at fault.
 */
import type { Attrs, OpName } from "./attrs.ts";
import { Dim, type Rounding } from "./dim.ts";
import type { GraphFunction, Node, Output, Program } from "./node.ts";
import { Graph } from "./node.ts";
import type { Axis, DType, TensorType } from "./type.ts";

export function parseProgram(text: string, graph: Graph = new Graph()): Program {
  const functions = new Map<string, GraphFunction>();
  let main: GraphFunction | null = null;
  const lines = text.split("\n").filter((line) => line.trim() !== "");
  while (lines.length > 0) {
    const end = lines.indexOf("}");
    if (end < 0) throw new SyntaxError("a function has no closing brace");
    const [head = "", ...body] = lines.splice(0, end + 1).slice(0, -1);
    const fn = parseFunction(head, body, graph);
    if (head.startsWith("main ")) main = fn;
    else functions.set(fn.name, fn);
  }
  if (main === null) throw new SyntaxError("there is no main function");
  return { main, functions };
}

function parseFunction(head: string, body: readonly string[], graph: Graph): GraphFunction {
  const [, name, list] = match(/^(?:fn|main) (\S+?)\((.*)\) \{$/, head);
  const names = new Map<string, Node>();
  const inputs = splitTop(list, ", ").map((entry) => {
    const [, input, text] = match(/^(.+?): (.*)$/, entry);
    const type = parseType(text);
    const node = graph.intern("input", [], { name: input, type }, type, null);
    names.set(input, node);
    return node;
  });
  const find = (text: string): Node => {
    const node = names.get(text);
    if (node === undefined) throw new SyntaxError(`${text} is used before it is defined`);
    return node;
  };
  const outputs: Output[] = [];
  for (const line of body) {
    const output = /^ {2}(result|loss|metric|update|accumulator|gradient) (\S+) = (.*)$/.exec(line);
    if (output !== null) {
      const [, role = "", label = "", value = ""] = output;
      outputs.push({ name: label, role: role as Output["role"], node: find(value) });
      continue;
    }
    const [, label, op, operands, attrs, text] = match(
      /^ {2}(%\d+) = (\w+)(?:\((.*?)\))?(?: \{(.*)\})? : (\w+\[.*\])$/,
      line,
    );
    const type = parseType(text);
    const parsed = { ...parseAttrs(attrs), ...(TYPED.includes(op) ? { type } : {}) };
    const inputNodes = splitTop(operands, ", ").map(find);
    names.set(label, graph.intern(op as OpName, inputNodes, parsed as Attrs[OpName], type, null));
  }
  return { name, inputs, outputs };
}

/** Ops whose type is an attribute, which the text does not repeat. */
const TYPED: readonly string[] = ["input", "param", "call"] satisfies readonly OpName[];

/** `f32[T, D=48]`. */
export function parseType(text: string): TensorType {
  const [, dtype, axes] = match(/^(f32|u32|i32|bool)\[(.*)\]$/, text);
  return { dtype: dtype as DType, axes: splitTop(axes, ", ").map(parseAxis) };
}

/** `D=48`, or `T` for a size that is the symbol of that name. */
export function parseAxis(text: string): Axis {
  const [, name, size] = match(/^([^=]+)(?:=(.*))?$/, text);
  return { name, size: size === "" ? Dim.of(name) : parseDim(size), origin: null };
}

/** Reads `Dim.key`. Brackets in an opaque symbol keep it whole. */
export function parseDim(text: string): Dim {
  return splitTop(text, " + ").reduce(
    (sum, term) =>
      sum.plus(
        splitTop(term, "*")
          .map(parseFactor)
          .reduce((a, b) => a.times(b)),
      ),
    Dim.of(0),
  );
}

function parseFactor(text: string): Dim {
  const number = /^(-?\d+)(?:\/(\d+))?$/.exec(text);
  if (number !== null) return Dim.of(Number(number[1])).over(Dim.of(Number(number[2] ?? 1))) ?? Dim.of(0);
  const [, symbol, power] = match(/^(.+?)(?:\^(-?\d+))?$/, text);
  const rounded = /^(ceil|floor)\((.*)\)$/.exec(symbol);
  if (rounded !== null) Dim.round(rounded[1] as Rounding, parseDim(rounded[2] ?? ""));
  const product = Dim.product(Array.from({ length: Math.abs(Number(power || "1")) }, () => Dim.of(symbol)));
  return power.startsWith("-") ? (Dim.of(1).over(product) ?? product) : product;
}

function parseAttrs(text: string): Record<string, unknown> {
  return Object.fromEntries(
    splitTop(text, ", ").map((entry) => {
      const [, key, value] = match(/^(\w+): (.*)$/, entry);
      return [key, parseValue(value)];
    }),
  );
}

function parseValue(text: string): unknown {
  if (text.startsWith("[")) return splitTop(text.slice(1, -1), ", ").map(parseValue);
  if (text.startsWith("<")) return parseAxis(text.slice(1, -1));
  return JSON.parse(text) as unknown;
}

/** Splits at a separator that is outside of brackets and strings; nothing for empty text. */
function splitTop(text: string, separator: string): readonly string[] {
  if (text === "") return [];
  const parts: string[] = [];
  let depth = 0;
  let quoted = false;
  let start = 0;
  for (let i = 0; i < text.length; i++) {
    const c = text[i] ?? "";
    if (quoted && c === "\\") i++;
    else if (c === '"') quoted = !quoted;
    else if (quoted) continue;
    else if ("([{<".includes(c)) depth++;
    else if (")]}>".includes(c)) depth--;
    else if (depth === 0 && text.startsWith(separator, i)) {
      parts.push(text.slice(start, i));
      start = i + separator.length;
    }
  }
  return [...parts, text.slice(start)];
}

/** The groups of a match, empty where one did not take part. */
function match(pattern: RegExp, text: string): readonly [string, string, string, string, string, string] {
  const found = pattern.exec(text);
  if (found === null) throw new SyntaxError(`not in the graph's text form: ${text}`);
  const [all = "", a = "", b = "", c = "", d = "", e = ""] = found;
  return [all, a, b, c, d, e];
}
