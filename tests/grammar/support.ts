/** Shared by the grammar's tests: parsing text that must be right, trees without places, the sample file. */
import { readFileSync } from "node:fs";
import { expect } from "vitest";
import { parse, renderDiagnostic, type Module } from "../../grammar/index.ts";

/** One program that uses the whole language. */
export const sample = readFileSync(new URL("sample.moe", import.meta.url), "utf8");

/** The tree of a text without errors. */
export function parseRight(text: string): Module {
  const { module, diagnostics } = parse({ path: "test.moe", text });
  expect(diagnostics.map((diagnostic) => renderDiagnostic(diagnostic, { color: false }))).toEqual([]);
  return module;
}

/** The errors of a text, one line each: `line:column message`. */
export function errorsOf(text: string): string[] {
  const { diagnostics } = parse({ path: "test.moe", text });
  return diagnostics.map(({ code, message, labels, help }) => {
    const before = text.slice(0, labels[0]!.span.start).split("\n");
    return `${before.length}:${before.at(-1)!.length + 1} ${code} ${message}${help === null ? "" : ` | ${help}`}`;
  });
}

/** A copy of a tree without `span` fields. */
export function strip(node: unknown): unknown {
  if (Array.isArray(node)) return node.map(strip);
  if (typeof node !== "object" || node === null) return node;
  return Object.fromEntries(
    Object.entries(node)
      .filter(([field]) => field !== "span" && field !== "fromSpan")
      .map(([field, value]) => [field, strip(value)]),
  );
}

/** An expression as prefix notation, to show how it groups. */
export function grouping(text: string): string {
  const item = parseRight(`dim X = ${text}`).items[0]!;
  if (item.kind !== "dim") throw new Error("not a dim");
  return show(item.size);
}

function show(node: import("../../grammar/index.ts").Expr): string {
  switch (node.kind) {
    case "number":
    case "bool":
      return String(node.value);
    case "string":
      return JSON.stringify(node.value);
    case "name":
      return node.name.text;
    case "list":
      return `[${node.items.map(show).join(" ")}]`;
    case "unary":
      return `(${node.op} ${show(node.value)})`;
    case "binary":
      return `(${node.op} ${show(node.left)} ${show(node.right)})`;
    case "rest":
      return "..";
    case "if":
      return `(if ${show(node.condition)} ${show(node.then)} ${show(node.else)})`;
    case "member":
      return `${show(node.object)}.${node.name.text}`;
    case "bracket":
      return `${show(node.object)}[${node.items.map(show).join(" ")}]`;
    case "call":
      return `${show(node.callee)}(${node.args.map((arg) => `${arg.name ? `${arg.name.text}:` : ""}${show(arg.value)}`).join(" ")})`;
    case "arrow":
      return `(-> ${show(node.from)} ${show(node.to)})`;
    case "of":
      return `(of ${show(node.count)} ${show(node.value)})`;
  }
}
