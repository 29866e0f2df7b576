/** A program by everything but a GPU: its text, each pass of the pipeline, the program of a micro-batch, and its gradients. */
import type { Program } from "../../../compiler/graph/node.ts";
import { Graph, isOp } from "../../../compiler/graph/node.ts";
import { parseProgram } from "../../../compiler/graph/parse.ts";
import { printProgram } from "../../../compiler/graph/print.ts";
import { allFunctions, outputNodes, topologicalOrder } from "../../../compiler/graph/traverse.ts";
import { OWN } from "../../../compiler/graph/type.ts";
import { batchProgram } from "../../../compiler/index.ts";
import { Builder } from "../../../compiler/ops/builder.ts";
import type { Value } from "../../../compiler/ops/define.ts";
import { passes } from "../../../compiler/pipeline.ts";
import type { Table } from "../../../compiler/plan/plan.ts";
import { evaluateProgram } from "../../../compiler/reference/interpret.ts";
import { verifyProgram } from "../../../compiler/verify/graph.ts";
import { type Given, bind, fillTable } from "./bindings.ts";
import { type Verdict, float64, judge } from "./determined.ts";
import type { Case } from "./generate.ts";

/** Printed and parsed back, it is the same. */
export function checkText({ program }: Case): readonly string[] {
  const text = printProgram(program);
  const again = printProgram(parseProgram(text));
  const faults = verifyProgram(program);
  return [...faults, ...(again === text ? [] : [`the text does not come back:\n${text}\n${again}`])];
}

/** After every pass the oracle finds what it found before. */
export function checkPasses({ program, kind, whole }: Case, T: number): Verdict {
  const given = bind(program, kind, T, 0);
  const expected = evaluateProgram(program, given);
  const tables = new Map<string, Table>();
  const outputs = program.main.outputs.map((o) => o.name);
  const context = { b: new Builder(new Graph()), outputs, tables, whole };
  let undetermined = 0;
  let text = printProgram(program);
  let now = parseProgram(text, context.b.graph);
  for (const pass of passes) {
    now = pass.run(now, context);
    const before = text;
    text = printProgram(now);
    if (text === before) continue;
    const faults = verifyProgram(now);
    if (faults.length > 0) return { wrong: faults.map((f) => `after ${pass.name}: ${f}`), undetermined };
    const found = evaluateProgram(now, stepBindings(now, given, tables));
    const claims = outputs.map((output) => ({ output, found: found[output]!.data }));
    const verdict = judge(program, given, expected, claims, float64);
    undetermined = Math.max(undetermined, verdict.undetermined);
    if (verdict.wrong.length > 0) return { wrong: verdict.wrong.map((w) => `after ${pass.name}: ${w}`), undetermined };
  }
  return { wrong: [], undetermined };
}

/** As a step is given it that holds all of one sequence. */
function stepBindings(program: Program, given: Given, tables: ReadonlyMap<string, Table>): Given {
  const { T } = given.sizes;
  const wanted = { axes: [{ name: OWN.wanted, size: T }], data: Float64Array.from({ length: T }, (_, i) => i) };
  const filled = new Map([...tables.values()].map((t) => [`table:${t.id}`, fillTable(t, T)]));
  // What a sequence has once has an axis of sequences in front.
  const inputs = program.main.inputs.map(({ attrs }): [string, Value] => {
    const own = attrs.name === "wanted" && given.inputs["wanted"] === undefined ? wanted : given.inputs[attrs.name]!;
    const isMore = attrs.type.axes.length > own.axes.length;
    return [attrs.name, isMore ? { ...own, axes: [{ name: attrs.type.axes[0]!.name, size: 1 }, ...own.axes] } : own];
  });
  return {
    inputs: Object.fromEntries(inputs),
    params: (path) => filled.get(path) ?? given.params(path),
    sizes: { T, Q: T, S: 1, P: T } as Given["sizes"],
  };
}

/** The program of a micro-batch does with each sequence what the program does with it alone. */
export function checkBatch({ program, kind }: Case, T: number): Verdict {
  const b = new Builder(new Graph());
  const own = parseProgram(printProgram(program), b.graph);
  const pooled = allFunctions(own).some((fn) => topologicalOrder(outputNodes(fn)).some((n) => isOp(n, "pool")));
  const sequences = pooled ? [0] : [0, 1];
  const all = sequences.map((s) => bind(program, kind, T, s));
  const batched = batchProgram(own, b).program;
  const faults = verifyProgram(batched);
  if (faults.length > 0) return { wrong: faults.map((f) => `batched: ${f}`), undetermined: 0 };
  const inputs = program.main.inputs.map(({ attrs }): [string, Value] => [
    attrs.name,
    stack(all.map((given) => given.inputs[attrs.name]!)),
  ]);
  const sizes = { T, batch: sequences.length };
  const found = evaluateProgram(batched, { inputs: Object.fromEntries(inputs), params: all[0]!.params, sizes });
  const verdicts = all.map((given, i) => {
    const expected = evaluateProgram(program, given);
    const claims = program.main.outputs.flatMap(({ name, role }) => {
      const value = found[name]!;
      // A loss counts with its mean; what no sequence has a part in has no axis for them.
      if (role !== "result") return [];
      const each = value.data.length / (value.axes[0]?.name === "batch" ? sequences.length : 1);
      return [{ output: name, found: value.data.slice(i * each, (i + 1) * each) }];
    });
    return judge(program, given, expected, claims, float64);
  });
  return {
    wrong: verdicts.flatMap((v) => v.wrong.map((w) => `batched: ${w}`)),
    undetermined: Math.max(...verdicts.map((v) => v.undetermined)),
  };
}

function stack(values: readonly Value[]): Value {
  const data = new Float64Array(values.reduce((n, v) => n + v.data.length, 0));
  values.forEach((v, i) => data.set(v.data, i * v.data.length));
  return { axes: [{ name: "batch", size: values.length }, ...values[0]!.axes], data };
}
