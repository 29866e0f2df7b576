/** `.moe` text as a checked module, and small helpers for tests of the front end. */
import { expect } from "vitest";
import type { Model, Scope } from "../../compiler/index.ts";
import { buildProgram, checkModule, makeConfigured } from "../../compiler/index.ts";
import type { Program } from "../../compiler/graph/node.ts";
import { renderDiagnostic, type Item } from "../../grammar/index.ts";
import { openWorkspace } from "../../runtime/load/modules.ts";

/** The diagnostics of a text, as `line code message`. */
export function diagnose(text: string): string[] {
  const workspace = openWorkspace();
  const file = { path: "test.moe", text: `edition 2026\n${text}` };
  return checkModule(workspace.open(file)).map(({ code, message, labels }) => {
    const line = file.text.slice(0, labels[0]!.span.start).split("\n").length - 1;
    return `${line} ${code} ${message}`;
  });
}

/** A text that must be right. */
export function openRight(text: string): Scope {
  const workspace = openWorkspace();
  const scope = workspace.open({ path: "test.moe", text: `edition 2026\n${text}` });
  const errors = checkModule(scope).filter((d) => d.severity === "error");
  expect(errors.map((d) => renderDiagnostic(d, { color: false }))).toEqual([]);
  return scope;
}

export function findItem<K extends Item["kind"]>(scope: Scope, kind: K): Extract<Item, { kind: K }> {
  const found = scope.module.items.find((item): item is Extract<Item, { kind: K }> => item.kind === kind);
  if (found === undefined) throw new Error(`there is no ${kind}`);
  return found;
}

/** The model of the first `config` of a text. */
export function modelOf(text: string): Model {
  const scope = openRight(text);
  return makeConfigured(scope, findItem(scope, "config"));
}

export function programOf(text: string): Program {
  return buildProgram(modelOf(text).instance);
}

/** `name[axes]` of every result, loss and metric of a program. */
export function outputsOf(program: Program): string[] {
  return program.main.outputs.map(
    ({ name, role, node }) =>
      `${role} ${name} ${node.type.dtype}[${node.type.axes.map((a) => `${a.name}=${a.size.key}`).join(" ")}]`,
  );
}
