/**
 * Which rooms of the compiler may ask for an op by its name, for which ops, and why; everywhere else the op's row decides: its lowering
 * kind, its behaviour along time, its rules. `null`: any op.
 */
import { ops } from "../../compiler/ops/table.ts";
import { readSources } from "./sources.ts";

/** Not computed: a parameter, an input of the function, a call of another. What they stand for is outside, and any room may ask. */
const OUTSIDE = new Set(["param", "input", "call"]);

interface Naming {
  readonly room: string;
  readonly ops: readonly string[] | null;
  readonly why: string;
}

export const NAMINGS: readonly Naming[] = [
  { room: "compiler/ops/", ops: null, why: "the rows themselves" },
  { room: "compiler/language/", ops: null, why: "what is written in the language is named in it" },
  { room: "compiler/weights/", ops: null, why: "operators here are those of expressions, which ops are called like" },
  { room: "compiler/check/", ops: null, why: "a lint is about what somebody wrote" },
  { room: "compiler/passes/", ops: null, why: "a rewrite is about the ops of its pattern" },
  {
    room: "compiler/graph/",
    ops: ["dot", "mul", "rename", "slice", "spread", "take", "transpose"],
    why: "a matrix product, one over tokens and a cache of latents are patterns of these",
  },
  {
    room: "compiler/training/",
    ops: ["attend", "delta_rule", "pool", "transpose"],
    why: "with an axis of sequences these are other programs: attention and memory per sequence, pools over all of them",
  },
  {
    room: "compiler/account.ts",
    ops: ["attend", "broadcast", "delay", "dot", "take"],
    why: "a report counts products with parameters, caches, and what a choice leaves out",
  },
  {
    room: "compiler/codegen/schedule/",
    ops: ["attend", "delay"],
    why: "these have states, whose inputs are read from memory",
  },
  {
    room: "compiler/codegen/schedule/",
    ops: ["length", "position", "sequence"],
    why: "these are buffers of the step",
  },
  {
    room: "compiler/codegen/schedule/",
    ops: ["mul", "sum"],
    why: "the sum over a token's choices, each scaled, is taken into the product's kernel",
  },
  {
    room: "compiler/codegen/schedule/",
    ops: ["broadcast", "merge", "rename", "split", "transpose"],
    why: "which views leave elements where they are in memory",
  },
  {
    room: "compiler/training/",
    ops: ["draw"],
    why: "the number of a sequence is known where several become one program",
  },
  {
    room: "compiler/codegen/assemble/",
    ops: ["broadcast"],
    why: "what an optimizer does to all elements alike is written for as many as a parameter takes",
  },
  {
    room: "compiler/codegen/lower/",
    ops: ["constant", "iota", "length", "position", "sequence"],
    why: "sources have a text each",
  },
  {
    room: "compiler/codegen/lower/",
    ops: ["merge", "rename", "roll", "slice", "split"],
    why: "through which views four elements stay beside each other",
  },
  {
    room: "compiler/codegen/lower/",
    ops: ["dot", "sum", "topk"],
    why: "long sums are compensated, a product wants more invocations, and a choice's values and places are found together",
  },
  { room: "compiler/codegen/assemble/", ops: ["attend"], why: "its work depends on the context" },
  { room: "compiler/codegen/assemble/", ops: ["add"], why: "a sum that is kept is added to by each of its parts" },
];

/** Every test of a node's op by name: file and op. */
export function namedOps(): readonly { readonly path: string; readonly op: string }[] {
  const asks = /\bisOp\(\s*[^"()]*(?:\([^()]*\)[^"()]*)*,\s*"(\w+)"|\bop [!=]== "(\w+)"/g;
  return readSources("compiler").flatMap(({ path, code }) =>
    [...code.matchAll(asks)]
      .map((m) => ({ path, op: m[1] ?? m[2]! }))
      .filter(({ op }) => op in ops && !OUTSIDE.has(op)),
  );
}
