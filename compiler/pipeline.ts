/**
 * The compiler's back: a program becomes a plan. The passes below run in this order on each entry's program; then every
 * entry is scheduled once per regime, lowered to WGSL and put into one plan. Layers are functions, so none of it
 * depends on how many there are.
 */
import { Graph } from "./graph/node.ts";
import type { Program } from "./graph/node.ts";
import { printProgram } from "./graph/print.ts";
import { Builder } from "./ops/builder.ts";
import type { EntryProgram } from "./assemble/assemble.ts";
import { assemblePlan } from "./assemble/assemble.ts";
import { verifyPlan } from "./assemble/verify.ts";
import type { Peek } from "./incrementalise/incrementalise.ts";
import { findPeeks, incrementaliseProgram } from "./incrementalise/incrementalise.ts";
import type { LowerContext } from "./lower/context.ts";
import type { DeviceFacts, Plan, StorageType, Table } from "./plan/plan.ts";
import type { Regime } from "./schedule/kernel.ts";
import { inlineCalls } from "./simplify/inline.ts";
import { pruneProgram } from "./simplify/prune.ts";
import { simplifyProgram } from "./simplify/simplify.ts";
import { sparsifyProgram } from "./sparsify/sparsify.ts";
import { selectWanted } from "./sparsify/wanted.ts";
import { tabulateProgram } from "./tabulate/tabulate.ts";
import { verifyProgram } from "./verify/graph.ts";

export interface CompileOptions {
  readonly model: string;
  readonly device: DeviceFacts;
  /** How each parameter is kept on the GPU, by its full path. */
  readonly storage: (path: string) => StorageType;
  /** Outputs of main to make entries for, e.g. `logits` in both regimes; with `computes`, one entry for several of them. */
  readonly entries: readonly {
    readonly output: string;
    readonly computes?: readonly string[];
    readonly regimes: readonly Regime[];
  }[];
  /** Kernel templates by name, for tests and tuning. */
  readonly force?: LowerContext["force"];
  /** The most tokens that a step will hold of one sequence: sliding windows keep so many more. */
  readonly stepTokens?: number;
  /** Gets the text of the program after every pass. */
  readonly dump?: (after: string, text: string) => void;
  /** Checks every program and the plan; a problem throws. */
  readonly verify?: boolean;
}

const STEP_TOKENS = 512;

/** What passes share: the builder of the one graph they all write to, and what they find out for the plan. */
interface PassContext {
  readonly b: Builder;
  readonly outputs: readonly string[];
  readonly tables: Map<string, Table>;
}

interface Pass {
  readonly name: string;
  readonly doc: string;
  readonly run: (program: Program, context: PassContext) => Program;
}

export const passes: readonly Pass[] = [
  { name: "inline", doc: "expand layers inside of layers", run: (p, c) => inlineCalls(p, c.b) },
  { name: "prune", doc: "keep the wanted outputs and what they need", run: (p, c) => pruneProgram(p, c.outputs, c.b) },
  { name: "simplify", doc: "algebra, constants, chains of views", run: (p, c) => simplifyProgram(p, c.b) },
  { name: "sparsify", doc: "compute only the experts that were chosen", run: (p, c) => sparsifyProgram(p, c.b) },
  {
    name: "incrementalise",
    doc: "name the states that causal ops keep between steps",
    run: (p, c) => incrementalise(p, c),
  },
  {
    name: "tabulate",
    doc: "angles and other functions of position become tables",
    run: (p, c) => tabulateProgram(p, c.b, c.tables),
  },
  {
    name: "select wanted",
    doc: "run what follows the last layer on the wanted rows only",
    run: (p, c) => selectWanted(p, c.b),
  },
  { name: "simplify again", doc: "what the passes above left behind", run: (p, c) => simplifyProgram(p, c.b) },
];

/** Thrown when a program has no step form; `peeks` point at the ops that look ahead. */
export class NotCausal extends Error {
  readonly peeks: readonly Peek[];

  constructor(peeks: readonly Peek[]) {
    super(peeks.map((p) => p.message).join("; "));
    this.peeks = peeks;
  }
}

export function compileProgram(program: Program, options: CompileOptions): Plan {
  const tables = new Map<string, Table>();
  const programs = options.entries.map(({ output, computes = [output], regimes }): EntryProgram => ({
    name: output,
    regimes,
    program: runPasses(program, computes, tables, options),
  }));
  const { model, device, storage, force = {}, stepTokens = STEP_TOKENS } = options;
  const plan = assemblePlan(programs, { model, device, storage, force, stepTokens, tables: [...tables.values()] });
  if (options.verify === true) complain("the plan", verifyPlan(plan));
  return plan;
}

function runPasses(
  program: Program,
  outputs: readonly string[],
  tables: Map<string, Table>,
  options: CompileOptions,
): Program {
  const context: PassContext = { b: new Builder(new Graph()), outputs, tables };
  return passes.reduce((now, pass) => {
    const next = pass.run(now, context);
    options.dump?.(pass.name, printProgram(next));
    if (options.verify === true) complain(`after ${pass.name}`, verifyProgram(next));
    return next;
  }, program);
}

function incrementalise(program: Program, { b }: PassContext): Program {
  const peeks = findPeeks(program);
  if (peeks.length > 0) throw new NotCausal(peeks);
  return incrementaliseProgram(program, b);
}

function complain(where: string, problems: readonly string[]): void {
  if (problems.length > 0) throw new Error(`${where}: ${problems.join("; ")}`);
}
