import { describe, expect, test } from "vitest";
import {
  applyAssignments,
  expandUpcycle,
  type Family,
  runContracts,
  type Model,
  type Upcycling,
} from "../../../compiler/index.ts";
import type { Value } from "../../../compiler/language/interpret/value.ts";
import { MoeError, renderDiagnostic } from "../../../grammar/index.ts";
import { openWorkspace } from "../../../runtime/load/modules.ts";
import { findItem, modelOf, openRight } from "../../support/programs.ts";

const llama = (fields = "") =>
  modelOf(`import { Llama } from "std"\nconfig c: Llama { V: 7  L: 2  D: 4  F: 6  G: 1  R: 2  C: 2 ${fields} }\n`);

const upcycle = (rules: string, head = "src: Llama[M], K = 2", target = "Mixtral(N: M, K: K)", where = "") =>
  `import { Llama, Mixtral } from "std"\nupcycle mine(${head}) -> ${target} ${where} {\n${rules}\n}\n`;

const btx = `  default = mean[M](src)
  blocks[l].ffn {
    experts[n]   = src[n].blocks[l].mlp
    pick.score.w = normal(std: 0.02, seed: 1)
  }`;

function expand(text: string, sources: readonly Model[], options: Record<string, number> = {}): Upcycling {
  const scope = openRight(text);
  const values = Object.entries(options).map(([k, value]): [string, Value] => [
    k,
    { kind: "number", value, float: false },
  ]);
  return expandUpcycle(findItem(scope, "upcycle"), scope, sources, new Map(values));
}

/** Recipes of a parameter: `start+length = 0.5 0:path@start + ...`. */
function recipes({ assignments }: Upcycling, path: string): string[] {
  return assignments
    .filter((a) => a.path === path)
    .map(({ start, length, terms }) => {
      const what = terms
        .map((t) =>
          t.kind === "fresh"
            ? t.init.kind
            : t.kind === "source"
              ? `${t.weight}·${t.source}:${t.path}@${t.view.start}`
              : t.kind,
        )
        .join(" + ");
      return `${start}+${length} = ${what}`;
    });
}

function codes(run: () => unknown): string[] {
  try {
    run();
    return [];
  } catch (error) {
    if (error instanceof MoeError) return error.diagnostics.map((d) => d.code);
    throw error;
  }
}

describe("assignments", () => {
  const three = [llama(), llama(), llama()];

  test("copies, averages and fresh values go to the runs of every parameter", () => {
    const plan = expand(upcycle(btx), three);
    expect(
      plan.target.parameters.find((p) => p.path === "blocks[1].ffn.experts.up.w")?.axes.map((a) => a.size),
    ).toEqual([3, 6, 4]);
    expect(recipes(plan, "blocks[1].ffn.experts.up.w")).toEqual(
      [0, 1, 2].map((n) => `${24 * n}+24 = 1·${n}:blocks[1].mlp.up.w@0`),
    );
    const third = 1 / 3;
    expect(recipes(plan, "norm.w")).toEqual([`0+4 = ${third}·0:norm.w@0 + ${third}·1:norm.w@0 + ${third}·2:norm.w@0`]);
    expect(recipes(plan, "blocks[0].ffn.pick.score.w")).toEqual(["0+12 = normal"]);
  });

  test("a longer path is stronger than a shorter one, wherever it stands", () => {
    const special = `  blocks[l].ffn.experts[0].up.w = zeros\n${btx}`;
    expect(recipes(expand(upcycle(special), three), "blocks[0].ffn.experts.up.w").toSorted()[0]).toBe("0+24 = zeros");
  });

  test("a fixed layer is stronger than all layers", () => {
    const plan = expand(upcycle(`${btx}\n  blocks[0].norm1.w = ones`), three);
    expect(recipes(plan, "blocks[0].norm1.w")).toEqual(["0+4 = ones"]);
    expect(recipes(plan, "blocks[1].norm1.w")[0]).toContain("1:blocks[1].norm1.w");
  });

  test("arithmetic is a weighted sum", () => {
    const rules = `  ignore src\n  default = 0.75 * src[0] + src[1] / 4\n  blocks[l].ffn {\n    experts[n] = src[n].blocks[l].mlp - src[0].blocks[l].mlp\n    pick.score.w = zeros\n  }`;
    const plan = expand(upcycle(rules), three);
    expect(recipes(plan, "norm.w")).toEqual(["0+4 = 0.75·0:norm.w@0 + 0.25·1:norm.w@0"]);
    expect(recipes(plan, "blocks[0].ffn.experts.up.w")[2]).toBe(
      "48+24 = 1·2:blocks[0].mlp.up.w@0 + -1·0:blocks[0].mlp.up.w@0",
    );
  });

  test("numbers divide as numbers", () => {
    const rules = "  default = 1 / 3 * src[0] + 2 * 2 / 6 * src[1]\n  ignore src";
    const plan = expand(upcycle(rules, "src: Llama[M]", "Llama"), three);
    const [a, b] = plan.assignments.find((p) => p.path === "norm.w")!.terms.map((t) => t.weight);
    expect([a, b]).toEqual([1 / 3, 2 / 3]);
  });

  test("cover every element of the target exactly once", () => {
    const plan = expand(upcycle(btx), three);
    for (const { path, axes } of plan.target.parameters) {
      const runs = plan.assignments.filter((a) => a.path === path).sort((a, b) => a.start - b.start);
      const end = runs.reduce((at, run) => (run.start === at ? at + run.length : -1), 0);
      expect({ path, end }).toEqual({ path, end: axes.reduce((n, a) => n * a.size, 1) });
    }
  });

  test("mean what they say, evaluated", () => {
    const plan = expand(upcycle(btx), three);
    const weights = three.map(
      (m, i) =>
        new Map(
          m.parameters.map((p) => [p.path, new Float64Array(p.axes.reduce((n, a) => n * a.size, 1)).fill(i + 1)]),
        ),
    );
    const target = applyAssignments(plan, weights);
    expect([...target.get("norm.w")!].every((x) => Math.abs(x - 2) < 1e-12)).toBe(true);
    expect([...new Set(target.get("blocks[0].ffn.experts.down.w"))]).toEqual([1, 2, 3]);
  });
});

describe("contracts", () => {
  test("hold for the library's upcyclings with any number of models", () => {
    const scope = openRight(upcycle(`${btx}\n  ensures identical(src) => close(self, src[0], tol: 1e-4)`));
    const { decl, scope: own } = llama().instance;
    const family: Family = { decl, scope: own };
    for (const count of [2, 3, 5]) {
      expect(
        runContracts(
          findItem(scope, "upcycle"),
          scope,
          Array.from({ length: count }, () => family),
          new Map(),
        ).map((r) => r.failure),
      ).toEqual([null]);
    }
  });
});

test("a premise that means nothing is told", () => {
  const scope = openRight(upcycle(`${btx}\n  ensures identical(src) => close(self, src[0], tol: 1e-4)`));
  const { decl, scope: own } = llama().instance;
  const families = [0, 1].map(() => ({ decl, scope: own }));
  const text = upcycle(`${btx}\n  ensures M > 3 => close(self, src[0], tol: 1e-4)`);
  const workspace = openWorkspace();
  const wrong = workspace.open({ path: "wrong.moe", text: `edition 2026\n${text}` });
  expect(runContracts(findItem(scope, "upcycle"), scope, families, new Map())[0]?.failure).toBe(null);
  expect(runContracts(findItem(wrong, "upcycle"), wrong, families, new Map())[0]?.failure).toMatch(
    /^`M > 3` is no premise/,
  );
});

describe("what the sources must be", () => {
  const other = modelOf(
    'import { Cohere } from "std"\nconfig c: Cohere { V: 7  L: 2  D: 4  F: 6  G: 1  R: 2  C: 2 }\n',
  );
  test.each<[string, () => unknown, readonly string[]]>([
    [
      "one, where one is declared",
      () =>
        expand(
          upcycle(
            "  default = src\n  blocks[l].ffn {\n    experts[n] = src.blocks[l].mlp\n    pick.score.w = zeros\n  }",
            "src: Llama, N = 2",
            "Mixtral(N: N, K: 1)",
          ),
          [llama(), llama()],
        ),
      ["upcycle/source-count"],
    ],
    ["of the declared model", () => expand(upcycle(btx), [llama(), other]), ["upcycle/wrong-source"]],
    [
      "of equal sizes",
      () =>
        expand(upcycle(btx), [
          llama(),
          modelOf('import { Llama } from "std"\nconfig c: Llama { V: 7  L: 2  D: 4  F: 8  G: 1  R: 2  C: 2 }\n'),
        ]),
      ["upcycle/sources-differ"],
    ],
    [
      "as many as `where` asks for",
      () => expand(upcycle(btx, undefined, undefined, "where M > 2"), [llama(), llama()]),
      ["upcycle/where"],
    ],
  ])("%s", (_, run, expected) => {
    expect(codes(run)).toEqual(expected);
  });

  test("parameters of the declaration come from outside, by name", () => {
    const free = upcycle(
      "  default = src\n  blocks[l].ffn {\n    experts[n] = src.blocks[l].mlp\n    pick.score.w = zeros\n  }",
      "src: Llama, N",
      "Mixtral(N: N, K: 1)",
    );
    expect(codes(() => expand(free, [llama()]))).toEqual(["upcycle/missing-parameter"]);
    expect(codes(() => expand(free, [llama()], { N: 3, n: 2 }))).toEqual(["name/no-parameter"]);
    expect(
      expand(free, [llama()], { N: 3 }).target.parameters.find((p) => p.path.endsWith("gate.w"))?.axes[0]?.size,
    ).toBe(3);
  });
});

test("differing sources are told with both values", () => {
  const wide = modelOf('import { Llama } from "std"\nconfig c: Llama { V: 7  L: 2  D: 4  F: 8  G: 1  R: 2  C: 2 }\n');
  let text = "";
  try {
    expand(upcycle(btx), [llama(), wide]);
  } catch (error) {
    text = (error as MoeError).diagnostics
      .map((d) => renderDiagnostic({ ...d, labels: d.labels.slice(0, 0) }, { color: false }))
      .join("\n");
  }
  expect(text).toMatchInlineSnapshot(`
    "error[upcycle/sources-differ]: the sources disagree on \`F\`: 6, 8
      = help: upcycle checkpoints that were trained from one seed"
  `);
});
