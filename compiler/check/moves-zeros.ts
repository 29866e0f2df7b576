/**
 * Whether an optimizer moves a weight of 0 whose gradients are all 0. Storage beside weights is such a weight, which products read: it has to
 * stay 0. Found by running a few steps in float64; limits: what happens only in later steps, or at other rates, is not seen.
 */
import type { LayerDecl } from "../../grammar/ast.ts";
import type { DiagnosticBag } from "../../grammar/diagnostic.ts";
import type { Program } from "../graph/node.ts";
import { ELEMENT, isElementwise } from "../language/interpret/shape.ts";
import type { Init } from "../language/interpret/value.ts";
import { nameOfUpdate } from "../graph/path.ts";
import type { Value } from "../ops/define.ts";
import { evaluateProgram } from "../reference/interpret.ts";

const STEPS = 3;

/** Reports an elementwise optimizer that does; one that names axes works on what those have, without storage beside it. */
export function checkZeros(
  bag: DiagnosticBag,
  decl: LayerDecl,
  program: Program,
  states: readonly { readonly path: string; readonly init: Init }[],
): void {
  const { name, forward } = decl;
  if (!isElementwise(decl) || !movesZeros(program, states)) return;
  bag.error(
    "type/moves-zeros",
    `\`${name.text}\` moves a weight of 0 whose gradient is 0, and storage beside weights has to stay 0`,
    [
      {
        span: forward?.body.statements.find((s) => s.kind === "return")?.span ?? name.span,
        text: "not 0 there, or no number",
      },
      { span: name.span, text: "declared here" },
    ],
    "let what is added be 0 where the gradient is, and divide by what is never 0: `m / (sqrt(v) + eps)`",
  );
}

/** Of the program of one element along `element`; `states` are what it remembers, by path. */
function movesZeros(program: Program, states: readonly { readonly path: string; readonly init: Init }[]): boolean {
  const one = (x: number): Value => ({ axes: [{ name: ELEMENT.name, size: 1 }], data: Float64Array.of(x) });
  const zero = one(0);
  const remembered = new Map(states.map(({ path, init }) => [path, one(startOf(init))]));
  for (let t = 1; t <= STEPS; t++) {
    const numbers = { rate: 0.01 * t, t, of: STEPS };
    const inputs = Object.fromEntries(
      program.main.inputs.map(({ attrs: { name, type } }): [string, Value] => {
        const number = numbers[name as keyof typeof numbers];
        return [name, type.axes.length > 0 ? zero : { axes: [], data: Float64Array.of(number) }];
      }),
    );
    const after = evaluateProgram(program, {
      inputs,
      params: (path) => remembered.get(path)!,
      sizes: { [ELEMENT.name]: 1 },
    });
    // NaN is not 0 either.
    if (after["out"]!.data[0] !== 0) return true;
    for (const { path } of states) {
      const next = after[nameOfUpdate(path)];
      if (next !== undefined) remembered.set(path, next);
    }
  }
  return false;
}

/** What an element of a state is before the first step. */
function startOf(init: Init): number {
  return init.kind === "constant" ? init.value : init.kind === "ones" ? 1 : 0;
}
