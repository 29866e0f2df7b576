import fc from "fast-check";
import { expect, test } from "vitest";
import { parseProgram } from "../../../compiler/graph/parse.ts";
import { verifyProgram } from "../../../compiler/verify/graph.ts";
import { programs } from "../graph/programs.ts";

test("what the builder makes is well formed", () => {
  fc.assert(
    fc.property(programs, (program) => {
      expect(verifyProgram(program)).toEqual([]);
    }),
  );
});

const layer = "fn layer(x: f32[T]) {\n  %1 = neg(x) : f32[T]\n  result out = %1\n}\n";

test.each([
  ["main f(x: f32[T]) {\n  %1 = neg(x) : f32[D]\n  result out = %1\n}\n", "the type should be f32[T]"],
  ['main f(x: f32[T]) {\n  %1 = sum(x) {axes: ["N"]} : f32[T]\n  result out = %1\n}\n', "no axis `N`"],
  ["main f(x: f32[T], x: u32[T]) {\n  result out = x\n}\n", "input x occurs twice"],
  ["main f(x: f32[T]) {\n  result out = x\n  result out = x\n}\n", "output result out occurs twice"],
  [
    'main f(x: f32[T]) {\n  %1 = param {path: "blocks[#].w"} : f32[T]\n  result out = %1\n}\n',
    "nothing binds the index",
  ],
  [
    'main f() {\n  %1 = param {path: "w"} : f32[T]\n  %2 = param {path: "w"} : f32[D]\n  %3 = add(%1, %2) : f32[T, D]\n  result out = %3\n}\n',
    "the same parameter is also",
  ],
  [
    'main f(x: f32[T]) {\n  %1 = call(x) {fn: "layer", path: "b[0]", part: 0} : f32[T]\n  result out = %1\n}\n',
    "no function layer",
  ],
  [
    `${layer}main f(x: f32[D]) {\n  %1 = call(x) {fn: "layer", path: "b[0]", part: 0} : f32[T]\n  result out = %1\n}\n`,
    "input x of layer is f32[T], given f32[D]",
  ],
  [
    `${layer}main f(x: f32[T]) {\n  %1 = call(x) {fn: "layer", path: "b[0]", part: 1} : f32[T]\n  result out = %1\n}\n`,
    "no output 1",
  ],
  [
    `${layer}main f(x: f32[T]) {\n  %1 = call(x) {fn: "layer", path: "b[0]", part: 0} : u32[T]\n  result out = %1\n}\n`,
    "output out of layer is f32[T]",
  ],
  [
    `${layer}main f(x: f32[T]) {\n  %1 = call(x, x) {fn: "layer", path: "b[0]", part: 0} : f32[T]\n  result out = %1\n}\n`,
    "takes 1 inputs",
  ],
  [
    'fn layer(x: f32[T]) {\n  %1 = call(x) {fn: "layer", path: "b[0]", part: 0} : f32[T]\n  result out = %1\n}\nmain f(x: f32[T]) {\n  result out = x\n}\n',
    "calls layer, which calls it in turn",
  ],
])("finds the fault in %j", (text, words) => {
  const faults = verifyProgram(parseProgram(text));
  expect(faults).toHaveLength(1);
  expect(faults[0]).toContain(words);
});

test("an input of another function is a fault", () => {
  const program = parseProgram("main f(x: f32[T], y: f32[T]) {\n  %1 = add(x, y) : f32[T]\n  result out = %1\n}\n");
  const main = { ...program.main, inputs: program.main.inputs.slice(0, 1) };
  expect(verifyProgram({ ...program, main })[0]).toContain("not among the function's inputs");
});
