/**
 * A program with its choices pushed to the weights: what is differentiated is what runs, so that only the experts that were
 * chosen have a backward pass, and their gradients go to their own place in the bank. Layers inside of layers are expanded first.
 */
import type { Program } from "../graph/node.ts";
import type { Builder } from "../ops/builder.ts";
import { inlineCalls } from "../passes/simplify/inline.ts";
import { simplifyProgram } from "../passes/simplify/simplify.ts";
import { sparsifyProgram } from "../passes/sparsify/sparsify.ts";

export function chosenAlone(program: Program, b: Builder): Program {
  return sparsifyProgram(simplifyProgram(inlineCalls(program, b), b), b);
}
