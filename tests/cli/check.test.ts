/** `moec check` on the files of newcomers: each mistake gets a message that names its fix. */
import { expect, test } from "vitest";
import { anonymous, moec, writeFile } from "./support.ts";

const feed = (body: string, head = 'import { Linear } from "std"\n'): string => `edition 2026
${head}
layer Feed(D, F) {
  up   = Linear(D -> F)
  down = Linear(F -> D)
  forward(x: [T, D]) -> [T, D] = ${body}
}
`;

const bigram = (rules: string): string => `edition 2026
import { Embedding, Linear } from "std"

model Bigram(V, D) {
  embed = Embedding(V -> D)
  head  = Linear(D -> V)
  forward(ids: u32[T]) -> f32[T, V] = f32(head(embed(ids)))
}

map bigram: Bigram {
  config {
    "bigram" <-> model_type
    V        <-> vocab_size
    D        <-> hidden_size
  }
  ${rules}
}
`;

const cases: readonly (readonly [name: string, text: string, code: string, fix: string])[] = [
  ["a typo in a member", feed("down(silu(upp(x)))"), "name/unknown", "did you mean `up`?"],
  ["a typo in a function", feed("down(sillu(up(x)))"), "name/unknown", "did you mean `silu`?"],
  ["a missing import", feed("down(up(x))", ""), "name/unknown", 'import { Linear } from "std"'],
  [
    "a typo in an import",
    feed("down(up(x))", 'import { Linaer } from "std"\n'),
    "name/no-export",
    "did you mean `Linear`?",
  ],
  ["a wrong shape", feed("down(x)"), "shape/missing-axis", "this has axes [T, D]"],
  ["a missing bracket", feed("down(up(x)"), "syntax/unexpected-token", "expected `,` or `)`"],
  ["a map with a gap", bigram('embed.w <-> "embed.weight"'), "map/unmapped", 'add a rule `head.w <-> "..."`'],
  ["a map with a typo", bigram('embed.w <-> "e"\n  haed.w <-> "h"'), "map/no-member", "did you mean `head`?"],
];

test.each(cases)("%s is told with its fix, on one screen", async (name, text, code, fix) => {
  const path = writeFile(`${name.replaceAll(" ", "-")}.moe`, text);
  const run = await moec("check", path);
  const message = anonymous(run.err);
  expect(run.code).toBe(1);
  expect(message).toContain(`error[${code}]`);
  expect(message).toContain(fix);
  expect(message).not.toContain("    at ");
  expect(message.split("\n").length).toBeLessThan(40);
  expect(run.out).toBe("");
  expect(message).toMatchSnapshot();
});

test("what is right is told in one line", async () => {
  const run = await moec("check", "examples", "stdlib");
  expect(run.code).toBe(0);
  expect(run.err).toMatch(/^ok: \d+ files checked\n$/);
});

test("--json prints one document with places counted from 1", async () => {
  const path = writeFile("typo.moe", feed("down(silu(upp(x)))"));
  const run = await moec("check", "--json", path);
  const { ok, diagnostics } = JSON.parse(run.out) as { ok: boolean; diagnostics: { code: string; labels: object[] }[] };
  expect(run.code).toBe(1);
  expect(ok).toBe(false);
  expect(diagnostics.map((d) => d.code)).toEqual(["name/unknown"]);
  expect(diagnostics[0]?.labels[0]).toMatchObject({ line: 7, column: 44, endLine: 7, endColumn: 47 });
});

test("a file that is no text is told to be one", async () => {
  const run = await moec("check", writeFile("weights.moe", new Uint8Array([8, 0, 0, 0, 255])));
  expect(run).toMatchObject({ code: 1, out: "" });
  expect(anonymous(run.err)).toContain("cannot read weights.moe: it is not text");
});
