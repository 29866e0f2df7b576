/** Rewrite rules as data and the one driver that applies them, bottom-up, at each node until none applies. */
import type { Node, Program } from "../../graph/node.ts";
import { rewriteProgram } from "../../graph/traverse.ts";
import { sameType } from "../../graph/type.ts";
import type { Builder } from "../../ops/builder.ts";

export interface SimplifyRule {
  /** The algebra, e.g. `x + 0 = x`. */
  readonly name: string;
  /** What takes the node's place, of the same type; null when the rule does not apply. */
  readonly build: (node: Node, b: Builder) => Node | null;
}

const ROUNDS = 16;

export function applyRules(program: Program, rules: readonly SimplifyRule[], b: Builder): Program {
  return rewriteProgram(program, (node, inputs) => {
    let now: Node = b.must(node.op, inputs, node.attrs, node.origin);
    for (let round = 0; round < ROUNDS; round++) {
      const next = applyOne(now, rules, b);
      if (next === null) return now;
      now = next;
    }
    return now;
  });
}

function applyOne(node: Node, rules: readonly SimplifyRule[], b: Builder): Node | null {
  for (const rule of rules) {
    const next = rule.build(node, b);
    if (next === null || next === node) continue;
    if (!sameType(next.type, node.type)) throw new Error(`rule "${rule.name}" changed the type of ${node.op}`);
    return next;
  }
  return null;
}
