/**
 * The compiler's back: a program becomes a plan. The passes below run in this order on each entry's program; then every
 * entry is scheduled once per regime, lowered to WGSL and put into one plan. Layers are functions, so none of it
 * depends on how many there are.
 */
import { Graph, isOp } from "./graph/node.ts";
import type { GraphFunction, Program } from "./graph/node.ts";
import { bindPath } from "./graph/path.ts";
import { printProgram } from "./graph/print.ts";
import { outputNodes, topologicalOrder } from "./graph/traverse.ts";
import { Builder } from "./ops/builder.ts";
import { assemblePlan, type UpdateSpec } from "./codegen/assemble/assemble.ts";
import type { EntryProgram } from "./codegen/assemble/entry.ts";
import type { Keeps } from "./codegen/assemble/kept.ts";
import type { ScheduleWork } from "./codegen/schedule/scheduling.ts";
import { verifyPlan } from "./plan/verify.ts";
import type { Peek } from "./passes/incrementalise.ts";
import { findPeeks, incrementaliseProgram } from "./passes/incrementalise.ts";
import type { LowerContext } from "./codegen/lower/context.ts";
import type { DeviceFacts, EntryRegime, HostScalar, Plan, Table } from "./plan/plan.ts";
import type { WeightFormat } from "./plan/format.ts";
import type { StoreType } from "./plan/store.ts";
import { absorbProgram } from "./passes/absorb/absorb.ts";
import { giveSequenceAxis } from "./passes/per-sequence.ts";
import { orderProgram } from "./passes/order.ts";
import { inlineCalls } from "./passes/simplify/inline.ts";
import { pruneProgram } from "./passes/simplify/prune.ts";
import { simplifyProgram } from "./passes/simplify/simplify.ts";
import { routeBanks } from "./passes/sparsify/banks.ts";
import { sparsifyProgram } from "./passes/sparsify/sparsify.ts";
import { selectWanted } from "./passes/sparsify/wanted.ts";
import { tabulateProgram } from "./passes/tabulate/tabulate.ts";
import { verifyProgram } from "./verify/graph.ts";

export interface CompileOptions {
  readonly model: string;
  readonly device: DeviceFacts;
  /** How each parameter is kept on the GPU, by its full path. */
  readonly storage: (path: string) => WeightFormat;
  readonly entries: readonly EntryOptions[];
  /** Numbers that the host works out: a parameter of a program whose path is the id of one stands for it. */
  readonly scalars?: readonly HostScalar[];
  /** What ends an optimizer step, where the plan trains. */
  readonly update?: UpdateSpec;
  /** What keys and values of attention are kept as between steps; f32 unless it is said. */
  readonly cache?: StoreType;
  /** What rows of numbers are in the memory in which kernels leave them for each other; f32 unless it is said. */
  readonly activations?: StoreType;
  /** Kernel templates by name, for tests and tuning. */
  readonly force?: LowerContext["force"];
  /** The most tokens that a step will hold of one sequence: sliding windows keep so many more. */
  readonly stepTokens?: number;
  /** Gets the text of the program after every pass. */
  readonly dump?: (after: string, text: string) => void;
  /** Gets what the scheduling of each function took. */
  readonly scheduled?: (work: ScheduleWork) => void;
  /** Checks every program and the plan; a problem throws. */
  readonly verify?: boolean;
}

const STEP_TOKENS = 512;

/** Outputs of main to make an entry for in each regime, e.g. `logits`; with `computes`, one entry for several of them. */
export interface EntryOptions {
  readonly output: string;
  readonly computes?: readonly string[];
  readonly regimes: readonly EntryRegime[];
  /** Another program than the one that is compiled otherwise: what a model was trained with may differ from how it generates. */
  readonly program?: Program;
  /** How its results are kept across steps, where it is a micro-batch that trains. */
  readonly keeps?: Keeps;
}

/** What passes share: the builder of the one graph they all write to, and what they find out for the plan. */
interface PassContext {
  readonly b: Builder;
  readonly outputs: readonly string[];
  readonly tables: Map<string, Table>;
  /** Steps hold a whole sequence each, so that ops may look ahead. */
  readonly whole: boolean;
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
  {
    name: "per-sequence",
    doc: "inputs without a time axis get a sequence axis",
    run: (p, c) => giveSequenceAxis(p, c.b),
  },
  {
    name: "absorb",
    doc: "the cache of attention over latents holds the latents",
    run: (p, c) => absorbProgram(p, c.b),
  },
  { name: "sparsify", doc: "compute only the experts that were chosen", run: (p, c) => sparsifyProgram(p, c.b) },
  {
    name: "order",
    doc: "`topk` along time becomes comparisons of all pairs of tokens",
    run: (p, c) => orderProgram(p, c.b),
  },
  {
    name: "route banks",
    doc: "a product whose rows each choose a matrix becomes a routed contraction",
    run: (p, c) => routeBanks(p, c.b),
  },
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
    run: (p, c) => selectWanted(p, c.b, c.whole),
  },
  { name: "simplify again", doc: "what the passes above left behind", run: (p, c) => simplifyProgram(p, c.b) },
];

/** Thrown when a program has no step form; `peeks` point at the ops that look ahead. */
export class NotCausal extends Error {
  readonly peeks: readonly Peek[];

  constructor(peeks: readonly Peek[]) {
    super(peeks.map((p) => p.message(p.op)).join("; "));
    this.peeks = peeks;
  }
}

export function compileProgram(program: Program, options: CompileOptions): Plan {
  const tables = new Map<string, Table>();
  const programs = options.entries.flatMap(
    ({ output, computes = [output], regimes, program: own = program, keeps }) => {
      const compiled = (whole: boolean): readonly EntryProgram[] => {
        const wanted = regimes.filter((r) => (r === "whole") === whole);
        if (wanted.length === 0) return [];
        const passed = runPasses(own, computes, tables, whole, options);
        return [{ name: output, regimes: wanted, program: passed, ...(keeps === undefined ? {} : { keeps }) }];
      };
      return [...compiled(false), ...compiled(true)];
    },
  );
  const {
    model,
    device,
    storage,
    force = {},
    cache = "f32",
    activations = "f32",
    stepTokens = STEP_TOKENS,
    scheduled = () => {},
    scalars = [],
    update = null,
  } = options;
  const made = {
    model,
    device,
    storage,
    force,
    cache,
    activations,
    stepTokens,
    scheduled,
    scalars,
    update,
    tables: [...tables.values()],
  };
  const plan = assemblePlan(programs, made);
  if (options.verify === true) complain("the plan", verifyPlan(plan));
  return plan;
}

/** Ops that need later positions, on the way to these outputs. */
export function peeksOf(program: Program, outputs: readonly string[]): readonly Peek[] {
  const b = new Builder(new Graph());
  return findPeeks(pruneProgram(inlineCalls(program, b), outputs, b));
}

/** Paths of the parameters that these outputs need. */
export function parametersOf(program: Program, outputs: readonly string[]): readonly string[] {
  const b = new Builder(new Graph());
  const { main, functions } = pruneProgram(inlineCalls(program, b), outputs, b);
  const found = new Set<string>();
  const visit = (fn: GraphFunction, path: string): void => {
    for (const node of topologicalOrder(outputNodes(fn))) {
      if (isOp(node, "param")) found.add(bindPath(node.attrs.path, path));
      else if (isOp(node, "call")) visit(functions.get(node.attrs.fn)!, bindPath(node.attrs.path, path));
    }
  };
  visit(main, "");
  return [...found];
}

function runPasses(
  program: Program,
  outputs: readonly string[],
  tables: Map<string, Table>,
  whole: boolean,
  options: CompileOptions,
): Program {
  const context: PassContext = { b: new Builder(new Graph()), outputs, tables, whole };
  return passes.reduce((now, pass) => {
    const next = pass.run(now, context);
    options.dump?.(pass.name, printProgram(next));
    if (options.verify === true) complain(`after ${pass.name}`, verifyProgram(next));
    return next;
  }, program);
}

function incrementalise(program: Program, { b, whole }: PassContext): Program {
  const peeks = whole ? [] : findPeeks(program);
  if (peeks.length > 0) throw new NotCausal(peeks);
  return incrementaliseProgram(program, b, whole ? "whole." : "");
}

function complain(where: string, problems: readonly string[]): void {
  if (problems.length > 0) throw new Error(`${where}: ${problems.join("; ")}`);
}
