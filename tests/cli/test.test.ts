/** `moec test`. */
import { expect, test } from "vitest";
import { moec, writeFile } from "./support.ts";

const twice = (expected: number): string => `edition 2026

layer Twice(D) {
  forward(x: [T, D]) -> [T, D] = x * 2
}

test "two becomes ${expected}" for Twice(D: 1) {
  x = [[2]]
  expect out == [[${expected}]]
}
`;

test("the library's own tests pass", async () => {
  const run = await moec("test", "--std", "examples");
  expect(run.code).toBe(0);
  expect(run.out).toMatch(/\d+ tests passed\n$/);
  expect(run.out).not.toContain("FAIL");
});

test("a wrong expectation fails with its line and what was found", async () => {
  const path = writeFile("five.moe", twice(5));
  const run = await moec("test", path);
  expect(run.code).toBe(1);
  expect(run.out).toContain("1 of 1 test failed");
  expect(run.err).toContain(`${path}:9:3`);
  expect(run.err).toContain("element [0, 0] is 4, not 5");
});

test("a test reaches one layer of a stack and one expert of a bank", async () => {
  const path = writeFile(
    "tower.moe",
    `edition 2026
import { Linear } from "std"

layer Bank(D, N) {
  experts = N of Linear(D -> D)
  forward(x: [T, D]) -> [T, D] = sum[N](experts(x))
}

layer Tower(D, L, N) {
  blocks = L of Bank(D, N)
  forward(x: [T, D]) -> [T, D] {
    for b in blocks { x = b(x) }
    return x
  }
}

test "layer by layer, expert by expert" for Tower(D: 1, L: 2, N: 2) {
  blocks[0].experts[0].w = [[2]]
  blocks[0].experts[1].w = [[1]]
  blocks[1].experts[n].w = [[4]]
  x                      = [[1]]
  expect out == [[24]]
}

test "all layers at once" for Tower(D: 1, L: 3, N: 2) {
  blocks[l].experts.w = [[[2]], [[1]]]
  x                   = [[1]]
  expect out == [[27]]
}
`,
  );
  const run = await moec("test", path);
  expect(run.err).not.toContain("error[");
  expect(run.out).toContain("2 tests passed");
});

test("--json tells every test", async () => {
  const good = writeFile("four.moe", twice(4));
  const bad = writeFile("six.moe", twice(6));
  const run = await moec("test", "--json", good, bad);
  const report = JSON.parse(run.out) as { ok: boolean; tests: { title: string; ok: boolean }[] };
  expect(run.code).toBe(1);
  expect(report.ok).toBe(false);
  expect(report.tests.map((t) => [t.title, t.ok])).toEqual([
    ["two becomes 4", true],
    ["two becomes 6", false],
  ]);
});

test.each([
  ["out == [[1 + 3]]", 0, ""],
  ["out == [[2 * 3 - 2]]", 0, ""],
  ["close(out / 2, [[2]])", 0, ""],
  ["out == [[4], [4, 4]]", 1, "the lists inside of a list differ in length"],
  ["out * out == [[16]]", 1, "what stands right of `*` has to be one number"],
  ["out == [[7 % 4]]", 1, "an expectation is made of results, numbers and lists of numbers"],
])("an expectation computes with numbers: %s", async (expectation, code, words) => {
  const path = writeFile("expectation.moe", twice(4).replace("out == [[4]]", expectation));
  const run = await moec("test", path);
  expect(run.err).toContain(words);
  expect(run.code).toBe(code);
});
