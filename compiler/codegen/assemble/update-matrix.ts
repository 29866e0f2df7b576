/**
 * The update of a parameter by an optimizer of matrices: a function over the parameter's own axes, with products of them, scheduled like any
 * other. What it comes to lies in memory of its own first, and goes to the parameter and to what is remembered when all of it is there:
 * products read what others replace. The same kernels run for every layer.
 */
import { Graph, isOp, type Node, type Program } from "../../graph/node.ts";
import { outputNodes, rewriteNodes, topologicalOrder } from "../../graph/traverse.ts";
import { Builder } from "../../ops/builder.ts";
import type { Binding, Dispatch, Parameter } from "../../plan/plan.ts";
import { lowerKernel } from "../lower/lower-kernel.ts";
import { elementsOf } from "../lower/size.ts";
import type { HostNumber, ParameterPlace } from "../lower/place.ts";
import { baseOf } from "../schedule/bytes.ts";
import { inKept, type MapKernel } from "../schedule/kernel.ts";
import { chooseLayouts } from "../schedule/layout.ts";
import { emitKernel, type FunctionContext, placeOf, placeTemporaries, type Places } from "./function.ts";
import { scheduleNarrow } from "./narrow.ts";

export interface MatrixUpdate {
  readonly parameter: Parameter;
  /** Inputs `w`, `g` and what is remembered, over the parameter's axes; outputs `w`, and `after.` with each name that changes. */
  readonly program: Program;
  /** Where an input lies, in the parameter's layout, and where an output goes. */
  readonly bindings: ReadonlyMap<string, Binding>;
  /** The same for all layers: what its memory is called. */
  readonly prefix: string;
  readonly context: Pick<FunctionContext, "device" | "force" | "collector">;
  /** A number of the step, by its path in the program. */
  readonly numberOf: (path: string) => HostNumber | { readonly bound: Binding };
}

export function updateMatrix(update: MatrixUpdate, label: string): readonly Dispatch[] {
  const { parameter, bindings, prefix } = update;
  const { main } = guard(update.program);
  const context: FunctionContext = {
    ...update.context,
    ...{ regime: "prefill", cache: "f32", activations: "f32", stepTokens: null, pool: "update", prefix },
    scheduled: () => {},
    parameterOf: (param) => placeOfInput(parameter, bindings, param.attrs.path),
    tableOf: () => null,
    boundOf: ({ attrs: { path } }) => (bindings.has(path) ? null : update.numberOf(path)),
    layoutOf: () => parameter.layout,
  };
  const outputs = main.outputs.map(({ name, node }) => ({ name: nameOf(name), node: baseOf(node) }));
  const options = {
    regime: "prefill",
    device: context.device,
    layouts: chooseLayouts([main]),
    partsOf: () => 1,
  } as const;
  const planned = scheduleNarrow(
    outputs.map((o) => o.node),
    [],
    options,
    context,
  );
  const places: Places = new Map();
  placeTemporaries(planned, places, new Set(outputs.map((o) => o.node)), context);
  const steps = planned.kernels.flatMap((kernel) => {
    if (kernel.kind === "call") throw new Error(`${update.program.main.name} calls a function`);
    return emitKernel(kernel, planned, places, context);
  });
  const copies = outputs.map(({ name, node }) => putBack(node, placeOf(places, node), bindings.get(name)!, update));
  return [...steps, ...copies].map((d) => ({ ...d, label: `${label}: ${d.label}` }));
}

const nameOf = (output: string): string => output.replace(/^after\./, "");

/** What an update reads lies as the parameter does: itself, or a buffer that is kept. */
function placeOfInput(parameter: Parameter, bindings: ReadonlyMap<string, Binding>, name: string): ParameterPlace {
  const binding = bindings.get(name);
  if (binding === undefined) throw new Error(`an update reads ${name}`);
  const { storage, layout, parts } = parameter;
  if (binding.kind === "parameter") return { storage, layout, parts, path: binding.path };
  if (binding.kind === "buffer") return { storage, layout, parts, path: binding.id, buffer: binding.id };
  throw new Error(`${name} is not in memory`);
}

/** Inputs as parameters, since they lie like those; where a gradient is not finite, everything stays as it is. */
function guard({ main }: Program): Program {
  const b = new Builder(new Graph());
  const known = new Map<string, Node>();
  const param = (input: Node<"input">): Node => {
    const { name, type } = input.attrs;
    const node = known.get(name) ?? b.must("param", [], { path: name, type }, input.origin);
    known.set(name, node);
    return node;
  };
  const images = rewriteNodes(outputNodes(main), (node, inputs) =>
    isOp(node, "input") ? param(node) : b.must(node.op, inputs, node.attrs, node.origin),
  );
  const inputs = new Map(
    topologicalOrder(outputNodes(main)).flatMap((n) => (isOp(n, "input") ? [[n.attrs.name, n] as const] : [])),
  );
  const finite = b.must("param", [], { path: "finite", type: { dtype: "f32", axes: [] } });
  const outputs = main.outputs.map((output, i) => {
    const node = images[i]!;
    const own = inputs.get(nameOf(output.name));
    const before = own === undefined ? b.must("param", [], { path: nameOf(output.name), type: node.type }) : param(own);
    return { ...output, node: b.must("select", [b.must("gt", [finite, b.constant(0)], {}), node, before], {}) };
  });
  return { functions: new Map(), main: { name: main.name, inputs: [], outputs } };
}

/** A result from its memory to where it is kept, in the parameter's layout. */
function putBack(
  node: Node,
  from: string,
  to: Binding,
  { parameter, context: { device, force, collector } }: MatrixUpdate,
): Dispatch {
  const { axes } = node.type;
  const store = inKept(node, { id: "kept", axes, layout: parameter.layout, adds: false });
  const kernel: MapKernel = { kind: "map", computes: [], stores: [store] };
  const [lowered] = lowerKernel(kernel, "kernel", {
    ...{ device, force, regime: "prefill", cache: "f32", stepTokens: null },
    targetOf: () => to,
    scratch: () => ({ kind: "step" }),
    parameterOf: (param) => {
      throw new Error(`a copy reads ${param.attrs.path}`);
    },
    memoryFor: () => ({
      bufferOf: (n) => (n === node ? { kind: "buffer", id: from } : null),
      storeOf: () => "f32",
      accessOf: () => "read",
      parameterOf: (param) => {
        throw new Error(`a copy reads ${param.attrs.path}`);
      },
      builtin: () => ({ kind: "step" }),
    }),
  });
  const { module, bindings, grid, constants } = lowered!;
  return {
    kind: "dispatch",
    module: collector.module(module, "copy", null),
    ...{ bindings, grid, constants, label: "copy", origin: null, flops: 0 },
    bytes: ["*", elementsOf(node), 8],
  };
}
