/** What an editor may know of a file: held on every file of the library. */
import { describe, expect, test } from "vitest";
import { checkModule, describeType, factsOf, type Facts, namesAt, Workspace } from "../../compiler/index.ts";
import type { Expr, Name, Statement } from "../../grammar/ast.ts";
import { children, formatSpan, textOf, walk } from "../../grammar/index.ts";
import { tokenize } from "../../grammar/parse.ts";
import { fileLoader, openWorkspace } from "../../runtime/load/modules.ts";

const library = openWorkspace();
const known = library.standardScopes.map((scope) => ({ path: scope.file.path, scope, facts: factsOf(scope) }));

/** Every name of the tree but keys of configurations, which are words of another file. */
function namesOf(value: unknown): readonly Name[] {
  if (typeof value !== "object" || value === null) return [];
  if ("text" in value && "span" in value) return [value as Name];
  return Object.entries(value).flatMap(([field, inner]) =>
    ["span", "fromSpan", "keys", "objects", "ignored"].includes(field) ? [] : namesOf(inner),
  );
}

describe.each(known)("$path", ({ scope, facts }) => {
  test("every name that is looked up stands for something", () => {
    const unknown = facts.uses.filter((u) => u.role === "name" && u.declared === null);
    expect(unknown.map(({ name }) => `${name.text} at ${formatSpan(name.span)}`)).toEqual([]);
    const used = new Set(facts.uses.map((u) => u.name));
    expect(namesOf([scope.module.imports, scope.module.items]).filter((name) => !used.has(name))).toEqual([]);
  });

  test("every member that an expression of a layer takes is one of a declaration", () => {
    const spans = [...facts.values.keys()].flatMap((e) => (e.kind === "member" ? [e.name] : []));
    const steps = new Map(facts.uses.map((u) => [u.name, u.declared]));
    expect(spans.filter((name) => steps.get(name) === null).map((n) => formatSpan(n.span))).toEqual([]);
  });

  test("every expression of a layer has a value", () => {
    const missing = scope.module.items.flatMap((item) => {
      if (item.kind !== "layer" || item.forward === null) return [];
      const members = item.members.filter((m) => m.condition === null && !isParameter(m.value)).map((m) => m.value);
      const { statements } = item.forward.body;
      const last = statements.findIndex((statement) => statement.kind === "if" && returns(statement));
      const roots = statements.slice(0, last < 0 ? undefined : last + 1).flatMap(rootsOf);
      return [...members, ...roots].flatMap((root) => lacking(root, facts));
    });
    expect(missing.map((e) => `${textOf(e.span)} at ${formatSpan(e.span)}`)).toEqual([]);
  });

  test("names mean in the tree what they mean when they are read", () => {
    const declared = new Map(facts.uses.map((u) => [u.name, u.declared]));
    for (const [expr, { value }] of facts.values) {
      const found = expr.kind === "name" ? declared.get(expr.name) : undefined;
      if (found === undefined || found === null) continue;
      // A parameter may be given a function, and an axis keeps its own name.
      if (found.kind === "builtin" && value.kind === "builtin") expect(value.name).toBe(found.text);
      if (found.kind === "item" && found.item.kind === "fn")
        expect(value).toMatchObject({ kind: "fn", decl: found.item });
      if (found.kind === "item" && found.item.kind === "layer" && value.kind !== "error")
        expect(value).toMatchObject({ kind: "constructor", decl: found.item });
    }
  });

  test("it says what checking says", () => {
    expect(facts.diagnostics).toEqual(checkModule(scope));
  });
});

const isParameter = (e: Expr): boolean => /^(param|state)\b/.test(textOf(e.span));

function returns(statement: Statement): boolean {
  let found = false;
  walk(statement, (node) => {
    found ||= node.kind === "return";
  });
  return found;
}

/** What statements compute that run whatever the parameters are. */
function rootsOf(statement: Statement): readonly Expr[] {
  switch (statement.kind) {
    case "return":
      return statement.values;
    case "for":
      return [statement.over, ...statement.body.flatMap(rootsOf)];
    case "if":
      return [statement.condition];
    default:
      return [statement.value];
  }
}

/** The metric of `mean[blocks](share)` is the name of one. */
const isWord = (expr: Expr, { uses }: Facts): boolean =>
  expr.kind === "name" && uses.some((u) => u.name === expr.name && u.declared?.kind === "word");

/** Parts of an expression without a value. What stands for a function, or is not read because of another value, has none. */
function lacking(expr: Expr, facts: Facts): readonly Expr[] {
  const parts = (list: readonly Expr[]): readonly Expr[] => list.flatMap((e) => lacking(e, facts));
  switch (expr.kind) {
    case "arrow":
      return parts([expr.from]);
    case "of":
      return parts([expr.count, expr.value]);
    default:
  }
  if (!facts.values.has(expr)) return isWord(expr, facts) ? [] : [expr];
  switch (expr.kind) {
    case "if":
      return parts([expr.condition]);
    case "binary":
      return parts(["and", "or", "??", "=>"].includes(expr.op) ? [expr.left] : [expr.left, expr.right]);
    case "call":
      return parts(expr.args.map((a) => a.value));
    case "bracket":
      return parts([expr.object]);
    case "member":
      return parts([expr.object]);
    default:
      return parts(children(expr) as Expr[]);
  }
}

const MODEL = `edition 2026
import { Linear, RMSNorm as Norm } from "std"
dim H = 8

/// Twice as wide.
layer Wide(D, bias = false) {
  norm = Norm(D)
  up   = Linear(D -> 2 * D, bias: bias)
  w    = param[H]
  forward(x: [T, D]) -> [T, 2 * D] {
    y = up(norm(x))
    z = y * sum[H](w) * sum[D](norm.w)
    if bias { return z }
    return z + z
  }
}
`;

test("steps of the paths of maps are members of the layers that they lead through", () => {
  const stepsOf = ({ scope, facts }: (typeof known)[number]) => {
    const maps = scope.module.items.filter((i) => i.kind === "map");
    const isInMap = ({ start }: Name["span"]): boolean =>
      maps.some(({ span }) => span.start < start && start < span.end);
    return facts.uses.filter((u) => u.role === "step" && isInMap(u.name.span));
  };
  const mixtral = stepsOf(known.find(({ path }) => path === "std/families/mixtral.moe")!);
  expect(mixtral.length).toBeGreaterThan(20);
  expect(mixtral.filter((u) => u.declared === null)).toEqual([]);
  const experts = mixtral.find((u) => u.name.text === "experts")!.declared;
  expect(experts).toMatchObject({
    kind: "member",
    name: { span: { file: { path: "std/moe/layer.moe" } } },
  });
  // Parts that a small model does not have are not followed further.
  const all = known.flatMap(stepsOf);
  expect(all.filter((u) => u.declared !== null).length).toBeGreaterThan(0.85 * all.length);
});

describe("a file of one's own", () => {
  const file = { path: "own.moe", text: MODEL };
  const scope = openWorkspace().open(file);
  const facts = factsOf(scope);
  /** The name that begins at the n-th place where the file has this text. */
  const nameAt = (text: string, n = 0) => {
    let at = -1;
    for (let i = 0; i <= n; i++) at = MODEL.indexOf(text, at + 1);
    return facts.uses.find(({ name }) => name.span.start === at);
  };
  const declaredAt = (text: string, n = 0): string => {
    const declared = nameAt(text, n)?.declared;
    if (declared == null) return "nothing";
    if (!("name" in declared)) return `${declared.kind} ${declared.text}`;
    return `${declared.kind} ${formatSpan(declared.name.span)}`;
  };

  test.each<[string, string, number, string]>([
    ["an import is the declaration in the library", "Linear", 1, "item std/nn/linear.moe"],
    ["an alias is what it renames", "Norm(D)", 0, "item std/nn/norm.moe"],
    ["a parameter in a member", "bias)", 0, "parameter own.moe:6:15"],
    ["a name of an argument is the callee's parameter", "bias: bias", 0, "parameter std/nn/linear.moe"],
    ["a member", "up(norm", 0, "member own.moe:8:3"],
    ["a local", "z + z", 0, "local own.moe:12:5"],
    ["a size of the file in brackets", "H](w)", 0, "item own.moe:3:5"],
    ["an argument", "x))", 0, "argument own.moe:10:11"],
    ["a builtin", "sum", 0, "builtin sum"],
    ["time", "T, D", 0, "builtin T"],
    ["what follows a point is a member of what is before it", "w)\n", 0, "member std/nn/norm.moe"],
  ])("%s", (_, text, n, expected) => {
    expect(declaredAt(text, n)).toContain(expected);
  });

  test("all uses of a name are found by where it is declared", () => {
    const z = nameAt("z =")!.declared;
    const places = facts.uses.filter(
      (u) => u.declared !== null && "name" in u.declared && z !== null && "name" in z && u.declared.name === z.name,
    );
    expect(places.map((u) => formatSpan(u.name.span))).toEqual([
      "own.moe:12:5",
      "own.moe:13:22",
      "own.moe:14:12",
      "own.moe:14:16",
    ]);
  });

  test("expressions have types in the sizes of their declaration", () => {
    const typeOf = (text: string): string | undefined => {
      const found = [...facts.values].find(([e]) => textOf(e.span) === text);
      return found && describeType(found[1].value);
    };
    expect(typeOf("norm(x)")).toBe("f32[T, D]");
    expect(typeOf("up(norm(x))")).toMatch(/^f32\[T, \w+=2\*D\]$/);
    expect(typeOf("sum[H](w)")).toBe("f32[]");
    expect(typeOf("H")).toBe("H=8");
    expect(typeOf("bias")).toBe("false");
    const [, seen] = [...facts.values].find(([e]) => textOf(e.span) === "norm(x)")!;
    expect([seen.layer?.name.text, [...seen.parameters.keys()], seen.isOwn]).toEqual(["Wide", ["D", "bias"], true]);
  });

  test("what may be written at a place are the names of its declaration so far", () => {
    const at = (text: string): readonly string[] => [...namesAt(scope, MODEL.indexOf(text)).keys()];
    expect(at("norm(x))")).toEqual(["D", "bias", "norm", "up", "w", "x", "y"]);
    expect(at("y = up")).toEqual(["D", "bias", "norm", "up", "w", "x"]);
    expect(at("if bias")).toEqual(["D", "bias", "norm", "up", "w", "x", "y", "z"]);
    expect(at("bias = false")).toEqual(["D"]);
    expect(at("Linear(D ->")).toEqual(["D", "bias", "norm", "up"]);
    expect(at("dim H")).toEqual([]);
    expect(namesAt(scope, MODEL.indexOf("if bias")).get("z")).toMatchObject({ kind: "local" });
  });

  test("a body that others expand keeps the reading of its own definition", () => {
    const text = `${MODEL}layer Uses() {\n  inner = Wide(16)\n  forward(x: [T, 16]) -> [T, 32] = inner(x)\n}\n`;
    for (const both of [text, text.replace(/(layer Wide[^]*?\n}\n)([^]*)/, "$2$1")]) {
      const { values } = factsOf(library.with({ path: "own.moe", text: both }).open({ path: "own.moe", text: both }));
      const [, seen] = [...values].find(([e]) => textOf(e.span) === "norm(x)")!;
      expect(describeType(seen.value)).toBe("f32[T, D]");
    }
  });

  test("a declaration that is being typed has names, and types of what can be read", () => {
    const text = MODEL.replace("    if bias", "    half = y * \n    if bias");
    const edited = { path: "own.moe", text };
    const { diagnostics, uses, values } = factsOf(library.with(edited).open(edited));
    expect(diagnostics.map((d) => d.code)).toEqual(["syntax/unexpected-token"]);
    expect(uses.some((u) => u.name.text === "norm" && u.declared?.kind === "member")).toBe(true);
    expect([...values].some(([e, { value }]) => textOf(e.span) === "norm(x)" && value.kind === "tensor")).toBe(true);
  });
});

test("whatever is missing, an observer is told what is there, and nothing is thrown", () => {
  const { text } = { text: MODEL };
  const workspace = new Workspace(fileLoader);
  for (const { startOffset, endOffset } of tokenize(text).tokens) {
    const broken = { path: "own.moe", text: text.slice(0, startOffset) + text.slice(endOffset! + 1) };
    const scope = workspace.with(broken).open(broken);
    const facts = factsOf(scope);
    walk(scope.module, (node) => void node);
    expect(facts.uses.length).toBeGreaterThan(0);
  }
});
