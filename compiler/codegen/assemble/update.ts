/**
 * The entry that ends an optimizer step: the norm of all gradients, whether they are finite and how far they are clipped, then each trained
 * parameter from its gradient and what the optimizer remembers, one kernel over the parameter as it lies, padding included. A step with a
 * gradient that is not finite changes nothing.
 */
import { Dim } from "../../graph/dim.ts";
import { Graph, isOp, type Node, type Program } from "../../graph/node.ts";
import { outputNodes, rewriteNodes, topologicalOrder } from "../../graph/traverse.ts";
import type { Axis } from "../../graph/type.ts";
import { Builder } from "../../ops/builder.ts";
import type { EmittedKernel } from "../kernel/contraction/contraction.ts";
import { emitNormSum, emitVerdict, NORM_GROUPS } from "../kernel/norm.ts";
import type { LowerContext, Lowered } from "../lower/context.ts";
import { lowerKernel } from "../lower/lower-kernel.ts";
import type { HostNumber } from "../lower/place.ts";
import type { Binding, Dispatch, Entry, HostScalar, Kept, Parameter, Repeat } from "../../plan/plan.ts";
import { inKept, type MapKernel, type Store } from "../schedule/kernel.ts";
import type { Collector } from "./collect.ts";
import { pushRepeat } from "./repeat.ts";
import { updateMatrix } from "./update-matrix.ts";

/** What an optimizer does to one parameter, element by element. */
export interface UpdateRule {
  /**
   * Inputs f32 over one axis, of all elements of the parameter: `w`, `g`, and what is remembered, by name. Outputs: `w`, and `after.` with each
   * of the names that change. A parameter f32 [] of the program is the host scalar of its path, or `scale`, what clipping makes of a gradient.
   */
  readonly program: Program;
  /** False of one over all axes of the parameter. */
  readonly isElementwise?: boolean;
  readonly states: readonly { readonly name: string; readonly initial: number }[];
}

export interface UpdateOptions {
  readonly collector: Collector;
  readonly context: Pick<LowerContext, "device" | "regime" | "force">;
  readonly scalars: readonly HostScalar[];
  /** The host scalar that says the largest norm: gradients of a larger one are scaled down to it. 0: any. */
  readonly clip: string;
  /** Trained parameters in order. */
  readonly rules: readonly { readonly parameter: Parameter; readonly rule: UpdateRule }[];
  /** States of layers, which become what the last micro-batch said. */
  readonly replaced: readonly Parameter[];
}

/** What the entry leaves for the host: f32 [4] each, of which the first is meant. */
export const VERDICT = { norm: "norm", scale: "norm.scale", finite: "norm.finite" } as const;

/** What buffers are called in which an optimizer remembers something, before its name and the parameter's path. */
export const OPTIMIZER = "optimizer.";

/** What an optimizer remembers of a parameter. */
export function stateId(name: string, path: string): string {
  return `${OPTIMIZER}${name}.${path}`;
}

/** Elements of f32 that a parameter takes as it lies. */
export function elementsIn({ parts }: Parameter): number {
  return parts.reduce((n, part) => n + part.bytes / 4, 0);
}

export function assembleUpdate(options: UpdateOptions): Entry {
  const { rules, replaced, scalars, clip } = options;
  const kept = (id: string, elements: number, more: Kept): Binding => {
    options.collector.buffer(id, "f32", elements, { role: "kept", kept: more });
    return { kind: "buffer", id };
  };
  const once = { reset: "step", initial: 0, of: null } as const;
  const partial = kept("norm.partial", NORM_GROUPS, once);
  const [norm, scale, finite] = Object.values(VERDICT).map((id) => kept(id, 4, once)) as [Binding, Binding, Binding];
  const steps: (Dispatch | Repeat)[] = [];
  const add = (path: string, make: (hole: (text: string) => string) => Dispatch | readonly Dispatch[]): void => {
    const index = /\[(\d+)\]/.exec(path)?.[1];
    if (index === undefined) steps.push(...[make((text) => text)].flat());
    else pushRepeat(steps, Number(index), [make((text) => text.replace(`[${index}]`, "[#]"))].flat());
  };
  for (const { parameter } of rules) {
    const elements = elementsIn(parameter);
    add(parameter.path, (hole) => {
      const gradient: Binding = { kind: "buffer", id: hole(`grad.${parameter.path}`) };
      const kernel = emitNormSum(elements / 4, gradient, partial);
      return dispatch(options, kernel, "norm of gradients", 2 * elements, 4 * elements);
    });
  }
  const place = { scalar: scalars.findIndex((s) => s.id === clip), count: scalars.length };
  steps.push(dispatch(options, emitVerdict(partial, { norm, scale, finite }, place), "norm", 0, 4 * NORM_GROUPS));
  for (const { parameter, rule } of rules) {
    const { path } = parameter;
    for (const { name, initial } of rule.states)
      kept(stateId(name, path), elementsIn(parameter), { reset: "run", initial, of: path });
    add(path, (hole) => {
      const bindings = new Map<string, Binding>([
        ["w", { kind: "parameter", path: hole(path), part: 0 }],
        ["g", { kind: "buffer", id: hole(`grad.${path}`) }],
        ...rule.states.map(({ name }) => [name, { kind: "buffer", id: hole(stateId(name, path)) }] as const),
      ]);
      const label = `update ${hole(path)}`;
      if (rule.isElementwise ?? true) return updateOne(options, elementsIn(parameter), rule.program, bindings, label);
      const { context, collector } = options;
      return updateMatrix(
        {
          ...{ parameter, bindings, program: rule.program, prefix: `update.${hole(path).replaceAll("#", "layer")}` },
          context: { device: context.device, force: context.force, collector },
          numberOf: (number) => numberOf(options, number),
        },
        label,
      );
    });
  }
  for (const parameter of replaced)
    add(parameter.path, (hole) => {
      const bindings = new Map<string, Binding>([
        ["w", { kind: "parameter", path: hole(parameter.path), part: 0 }],
        ["next", { kind: "buffer", id: hole(`after.${parameter.path}`) }],
      ]);
      return updateOne(options, elementsIn(parameter), replacing(), bindings, `update ${hole(parameter.path)}`);
    });
  return { name: "update", output: "update", regime: "whole", phase: "update", inputs: [], outputs: [], steps };
}

/** A number of the step by its path: of the host, what clipping makes of a gradient, or whether all are finite. */
function numberOf({ scalars }: UpdateOptions, path: string): HostNumber | { readonly bound: Binding } {
  const scalar = scalars.findIndex((s) => s.id === path);
  if (scalar >= 0) return { scalar, count: scalars.length };
  return { bound: { kind: "buffer", id: path === "scale" ? VERDICT.scale : VERDICT.finite } };
}

/** One kernel: every element of the outputs from the same elements of the inputs, over which it is written. */
function updateOne(
  options: UpdateOptions,
  elements: number,
  program: Program,
  bindings: ReadonlyMap<string, Binding>,
  label: string,
): Dispatch {
  const axis = { ...axisOf(program), size: Dim.of(elements) };
  const { main } = guard(program, axis);
  const nameOf = (output: string): string => output.replace(/^after\./, "");
  const stores = main.outputs.map(({ name, node }) =>
    inKept(node, { id: nameOf(name), axes: [axis], layout: { kind: "plain" }, adds: false }),
  );
  const written = new Set(stores.map(({ kept }) => bindings.get(kept!.id)));
  const kernel: MapKernel = { kind: "map", computes: [], stores };
  const [lowered] = lowerKernel(kernel, "kernel", {
    ...options.context,
    cache: "f32",
    stepTokens: null,
    targetOf: (store: Store) => bindings.get(store.kept!.id)!,
    scratch: () => ({ kind: "step" }),
    parameterOf: (param) => {
      throw new Error(`an optimizer reads parameter ${param.attrs.path}`);
    },
    memoryFor: () => ({
      bufferOf: (node) => (isOp(node, "input") ? (bindings.get(node.attrs.name) ?? null) : null),
      storeOf: () => "f32",
      accessOf: (binding) => (written.has(binding) ? "write" : "read"),
      parameterOf: ({ attrs: { path } }) => numberOf(options, path),
      builtin: () => ({ kind: "step" }),
    }),
  });
  const work = topologicalOrder(outputNodes(main)).filter((n) => n.inputs.length > 0).length;
  const touched = bindings.size + stores.length;
  return dispatch(options, lowered!, label, work * elements, 4 * touched * elements);
}

/** The one axis of what is stepped. */
function axisOf({ main }: Program): Axis {
  const axis = topologicalOrder(outputNodes(main)).find((n) => isOp(n, "input"))?.type.axes[0];
  if (axis === undefined) throw new Error(`${main.name} steps nothing`);
  return axis;
}

/** Where a gradient is not finite, everything stays as it is; and the axis has its size. */
function guard({ main }: Program, axis: Axis): Program {
  const b = new Builder(new Graph());
  const input = (name: string): Node<"input"> => b.must("input", [], { name, type: { dtype: "f32", axes: [axis] } });
  const images = rewriteNodes(outputNodes(main), (node, inputs) => {
    if (isOp(node, "input")) return input(node.attrs.name);
    // What is the same for all elements is so for as many as there are.
    if (isOp(node, "broadcast")) return b.must("broadcast", inputs, { axes: [axis] }, node.origin);
    return b.must(node.op, inputs, node.attrs, node.origin);
  });
  const finite = b.must("param", [], { path: "finite", type: { dtype: "f32", axes: [] } });
  const outputs = main.outputs.map((output, i) => {
    const before = input(output.name.replace(/^after\./, ""));
    return { ...output, node: b.must("select", [b.must("gt", [finite, b.constant(0)], {}), images[i]!, before], {}) };
  });
  return { functions: new Map(), main: { name: "main", inputs: [], outputs } };
}

/** `w` becomes `next`. */
function replacing(): Program {
  const b = new Builder(new Graph());
  const next = b.must("input", [], {
    name: "next",
    type: { dtype: "f32", axes: [{ name: "E", size: Dim.of(4), origin: null }] },
  });
  return {
    functions: new Map(),
    main: { name: "main", inputs: [next], outputs: [{ name: "w", role: "result", node: next }] },
  };
}

function dispatch(
  { collector }: UpdateOptions,
  { module, bindings, grid, constants }: EmittedKernel | Lowered,
  label: string,
  flops: number,
  bytes: number,
): Dispatch {
  return {
    kind: "dispatch",
    module: collector.module(module, label, null),
    bindings,
    grid,
    constants,
    label,
    origin: null,
    flops,
    bytes,
  };
}
