import { describe, expect, test } from "vitest";
import { children, parse, walk, type Item } from "../../grammar/index.ts";
import { MoeParser } from "../../grammar/parser/index.ts";
import { errorsOf, grouping, parseRight, sample, strip } from "./support.ts";

const only = <K extends Item["kind"]>(text: string, kind: K): Extract<Item, { kind: K }> => {
  const { items } = parseRight(text);
  expect(items.map((item) => item.kind)).toEqual([kind]);
  return items[0] as Extract<Item, { kind: K }>;
};

describe("the grammar", () => {
  test("has no ambiguities that Chevrotain can find", () => {
    expect(() => new MoeParser(true)).not.toThrow();
  });

  test("reads every construct of the sample", () => {
    const { items, imports, edition } = parseRight(sample);
    expect(edition).toBe(2026);
    expect(imports.map(({ from, names }) => [from, names.length])).toEqual([
      ["std", 3],
      ["./router.moe", 1],
    ]);
    expect(items.map((item) => item.kind).join(" ")).toBe(
      "dim fn fn fn layer layer layer layer layer layer config map upcycle mixture mixture upcycle test",
    );
  });
});

describe("expressions", () => {
  test.each([
    ["a + b * c", "(+ a (* b c))"],
    ["a - b - c", "(- (- a b) c)"],
    ["(a + b) * c", "(* (+ a b) c)"],
    ["-a * b", "(* (- a) b)"],
    ["-a.b[0](c)", "(- a.b[0](c))"],
    ["a ?? b + 1 == c", "(== (?? a (+ b 1)) c)"],
    ["not a == b and c", "(and (not (== a b)) c)"],
    ["a or b and c", "(or a (and b c))"],
    ["a => b => c", "(=> a (=> b c))"],
    ["a => b or c", "(=> a (or b c))"],
    ["if a < b then a else b + 1", "(if (< a b) a (+ b 1))"],
    ["N of f(D, F) + 1", "(of N (+ f(D F) 1))"],
    ["f(D -> [G, R], K: 2)", "f((-> D [G R]) K:2)"],
    ["x[I -> I'][n]", "x[(-> I I')][n]"],
    ["1_000 + 1e-4 + 2.5E3", "(+ (+ 1000 0.0001) 2500)"],
    ["f([1, 2,], 3,)", "f([1 2] 3)"],
    [String.raw`"a\n\"\\"`, String.raw`"a\n\"\\"`],
  ])("%s is %s", (text, expected) => {
    expect(grouping(text)).toBe(expected);
  });

  test("a number is a float when it is written with a point or an exponent", () => {
    const floats = ["1", "1.0", "1e3"].map((text) => {
      const { size } = only(`dim X = ${text}`, "dim");
      return size.kind === "number" && size.float;
    });
    expect(floats).toEqual([false, true, true]);
  });

  test("soft keywords are names wherever the parser can tell", () => {
    expect(grouping("loss + model.config * map(test: default)")).toBe("(+ loss (* model.config map(test:default)))");
    expect(grouping("a.if.of(in: 1)")).toBe("a.if.of(in:1)");
    const { body } = only(
      "fn f(loss: [..]) -> [..] { loss = loss * 2 metric, x = g(1) update = metric update update = x loss loss return metric }",
      "fn",
    );
    expect(body.statements.map(({ kind }) => kind)).toEqual(["let", "let", "let", "update", "loss", "return"]);
  });

  test("a parenthesis or bracket on the next line is not a postfix, a point is", () => {
    expect(errorsOf("fn f() -> [..] {\n  a = b\n  .c\n  return a\n}")).toEqual([]);
    expect(errorsOf("fn f() -> [..] {\n  a = b\n  (c)\n  return a\n}")).toHaveLength(1);
  });
});

describe("declarations", () => {
  test("an arrow in a header joins two parameters", () => {
    const { params } = only("layer A(I -> O, b = 1, R: router) { forward(x: [I]) -> [O] = x }", "layer");
    expect(params.map(({ name, arrow, type }) => [name.text, arrow, type?.text ?? null])).toEqual([
      ["I", false, null],
      ["O", true, null],
      ["b", false, null],
      ["R", false, "router"],
    ]);
  });

  test("two members need nothing between them", () => {
    const { members } = only("layer A(D) { a = f(D) b = g(D) if a  forward(x: [D]) -> [D] = x }", "layer");
    expect(members.map(({ name, condition }) => [name.text, condition !== null])).toEqual([
      ["a", false],
      ["b", true],
    ]);
  });

  test("a body of `= expression` is one return", () => {
    const [short, long] = parseRight("fn f() -> [..] = x\nfn f() -> [..] { return x }").items;
    expect(strip(short)).toEqual(strip(long));
  });

  test("a lone name labels an axis by its size, a product has no label", () => {
    const { result } = only("fn f() -> [.., D, h: 2 * D, G*R] = x", "fn");
    const axes = result[0]?.kind === "tensor-type" ? result[0].axes : [];
    expect(axes.map((axis) => (axis.kind === "rest" ? ".." : (axis.label?.text ?? null)))).toEqual([
      "..",
      "D",
      "h",
      null,
    ]);
  });

  test("`sparse` and `dense` with brackets are routes, without they are names", () => {
    const { result } = only("fn f() -> sparse[Z of T, N], dense[T, N], sparse = x", "fn");
    expect(result.map(({ kind }) => kind)).toEqual(["route-type", "route-type", "named-type"]);
  });

  test("doc comments belong to the declaration or member below them", () => {
    const layer = only(
      "/// One.\n///\n/// Two.\nlayer A() {\n  /// W.\n  w = p[D]\n  v = p[D]\n  forward() -> [D] = w\n}",
      "layer",
    );
    expect([layer.doc, ...layer.members.map(({ doc }) => doc)]).toEqual(["One.\n\nTwo.", "W.", null]);
  });

  test("a pair's rules stand on its line, a `{` on the next line begins another pair", () => {
    const { rules } = only('map m: M { a <-> "a" { b <-> "b" }\n{ c, d } <-> "c" }', "map");
    expect(rules.map((rule) => rule.kind === "pair" && [rule.left.length, rule.rules?.length ?? null])).toEqual([
      [1, 1],
      [2, null],
    ]);
  });

  test("a config rule has alternative keys and a default over keys", () => {
    const { config } = only("map m: M { config { t <-> a.b | c = d / 2 } }", "map");
    expect(config[0]!.keys.map((key) => key.map(({ text }) => text).join("."))).toEqual(["a.b", "c"]);
    expect(config[0]!.default?.kind).toBe("binary");
  });
});

describe("the tree", () => {
  test("every span lies within its parent's", () => {
    const { module } = parse({ path: "sample.moe", text: sample });
    walk(module, (node, parent) => {
      expect(node.span.end).toBeGreaterThanOrEqual(node.span.start);
      if (parent === null) return;
      expect(node.span.start).toBeGreaterThanOrEqual(parent.span.start);
      expect(node.span.end).toBeLessThanOrEqual(parent.span.end);
    });
  });

  test("children are the nearest nodes, through records without a kind", () => {
    const { items } = parseRight("fn f(a = 1) -> [..] = g(b: 2)");
    expect(children(items[0]!).map(({ kind }) => kind)).toEqual(["number", "tensor-type", "return"]);
  });
});
