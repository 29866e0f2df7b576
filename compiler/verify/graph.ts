/** Checks that a program is well formed. Tests run it after every pass; a finding is a bug in the pass, not in a `.moe` file. */
import type { GraphFunction, Node, Program } from "../graph/node.ts";
import { isOp } from "../graph/node.ts";
import { printNode } from "../graph/print.ts";
import { allFunctions, outputNodes, topologicalOrder } from "../graph/traverse.ts";
import type { TensorType } from "../graph/type.ts";
import { formatType, sameType } from "../graph/type.ts";
import type { OpDef } from "../ops/define.ts";
import { isMismatch } from "../ops/mismatch.ts";
import { ops } from "../ops/table.ts";

/** One sentence per fault; empty when there is none. */
export function verifyProgram(program: Program): readonly string[] {
  const faults = allFunctions(program).flatMap((fn) =>
    verifyFunction(fn, program).map((fault) => `${fn.name}: ${fault}`),
  );
  for (const [name, fn] of program.functions) {
    if (fn.name !== name) faults.push(`function ${fn.name} is filed under ${name}`);
  }
  for (const path of bareParams(program.main)) faults.push(`${program.main.name}: nothing binds the index in ${path}`);
  return [...faults, ...findRecursion(program)];
}

function verifyFunction(fn: GraphFunction, program: Program): readonly string[] {
  const faults: string[] = [];
  const twice = (kind: string, names: readonly string[]) => {
    for (const name of names.filter((n, i) => names.indexOf(n) !== i)) faults.push(`${kind} ${name} occurs twice`);
  };
  twice(
    "input",
    fn.inputs.map((node) => node.attrs.name),
  );
  twice(
    "output",
    fn.outputs.map((o) => `${o.role} ${o.name}`),
  );
  const params = new Map<string, TensorType>();
  for (const node of topologicalOrder([...fn.inputs, ...outputNodes(fn)])) {
    const fault = verifyNode(node, fn, program) ?? verifyParam(node, params);
    if (fault !== null) faults.push(`${printNode(node, (input) => `%${input.id}`)}: ${fault}`);
  }
  return faults;
}

function verifyNode(node: Node, fn: GraphFunction, program: Program): string | null {
  const older = node.inputs.find((input) => input.id >= node.id);
  if (older !== undefined) return `input %${older.id} is not older than its user %${node.id}`;
  if (isOp(node, "input") && !fn.inputs.includes(node)) return "is not among the function's inputs";
  const row = ops[node.op] as unknown as OpDef<typeof node.op>;
  const type = row.infer(
    node.inputs.map((input) => input.type),
    node.attrs,
  );
  if (isMismatch(type)) return `${type.message} (${type.code})`;
  if (!sameType(type, node.type)) return `the type should be ${formatType(type)}`;
  return isOp(node, "call") ? verifyCall(node, program) : null;
}

function verifyCall(node: Node<"call">, program: Program): string | null {
  const fn = program.functions.get(node.attrs.fn);
  if (fn === undefined) return `there is no function ${node.attrs.fn}`;
  if (fn.inputs.length !== node.inputs.length) return `${fn.name} takes ${fn.inputs.length} inputs`;
  for (const [i, input] of fn.inputs.entries()) {
    const given = node.inputs[i];
    if (given !== undefined && !sameType(given.type, input.type)) {
      return `input ${input.attrs.name} of ${fn.name} is ${formatType(input.type)}, given ${formatType(given.type)}`;
    }
  }
  const output = fn.outputs[node.attrs.part];
  if (output === undefined) return `${fn.name} has no output ${node.attrs.part}`;
  return sameType(output.node.type, node.type)
    ? null
    : `output ${output.name} of ${fn.name} is ${formatType(output.node.type)}`;
}

/** One path has one type. */
function verifyParam(node: Node, params: Map<string, TensorType>): string | null {
  if (!isOp(node, "param")) return null;
  const known = params.get(node.attrs.path);
  params.set(node.attrs.path, node.type);
  return known === undefined || sameType(known, node.type) ? null : `the same parameter is also ${formatType(known)}`;
}

/** Paths in main are final: only a call can bind `#`. */
function bareParams(main: GraphFunction): readonly string[] {
  return topologicalOrder(outputNodes(main)).flatMap((node) => {
    const path = isOp(node, "param") || isOp(node, "call") ? node.attrs.path : "";
    return path.includes("#") ? [path] : [];
  });
}

function findRecursion(program: Program): readonly string[] {
  const state = new Map<string, "open" | "done">();
  const faults: string[] = [];
  const visit = (fn: GraphFunction): void => {
    state.set(fn.name, "open");
    for (const node of topologicalOrder(outputNodes(fn))) {
      const callee = isOp(node, "call") ? program.functions.get(node.attrs.fn) : undefined;
      if (callee === undefined || state.get(callee.name) === "done") continue;
      if (state.get(callee.name) === "open") faults.push(`${fn.name}: calls ${callee.name}, which calls it in turn`);
      else visit(callee);
    }
    state.set(fn.name, "done");
  };
  for (const fn of allFunctions(program)) if (!state.has(fn.name)) visit(fn);
  return [...new Set(faults)];
}
