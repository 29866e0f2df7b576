/** All rules together. */
import type { Program } from "../../graph/node.ts";
import type { Builder } from "../../ops/builder.ts";
import { algebra } from "./algebra.ts";
import { contractions } from "./contractions.ts";
import { applyRules } from "./rule.ts";
import { views } from "./views.ts";

export function simplifyProgram(program: Program, b: Builder): Program {
  return applyRules(program, [...algebra, ...views, ...contractions], b);
}
