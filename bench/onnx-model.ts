/**
 * The models that ONNX Runtime is measured on: chains of matrix products, and the mixture of experts in its contributed
 * operators (grouped-query attention with rotary embeddings, `MoE` or `QMoE`), as its own exporters write them.
 */
import { moeShape as shape, weightRange } from "./moe-shape.ts";
import {
  type Attribute,
  type OnnxNode,
  type OnnxTensor,
  type OnnxValue,
  contributed,
  encodeModel,
} from "./onnx-file.ts";
import { RandomWeights } from "./random.ts";

/** `x [rows, widths[0]]` through one matrix after another to `[rows, widths.at(-1)]`, all f32. */
export function makeMatmulChain(rows: number, widths: readonly number[]): Uint8Array {
  const graph = new GraphWriter();
  let x = graph.input({ name: "x", kind: "float32", dims: [rows, widths[0] ?? 0] });
  for (const [i, width] of widths.slice(1).entries()) {
    x = graph.node("MatMul", [x, graph.weight(`w${i}`, [widths[i] ?? 0, width])]);
  }
  graph.output(x, { name: "y", kind: "float32", dims: [rows, widths.at(-1) ?? 0] });
  return graph.encode();
}

export interface MoeFormat {
  /** `q4`: experts and, with `dense`, every other matrix in 4-bit blocks. */
  readonly experts: "f32" | "q4";
  readonly dense: "f32" | "q4";
}

/**
 * Inputs `ids` i64 [1, S], `past` i32 [1] = position of the last token, `total` i32 [1], and `k.<layer>`, `v.<layer>`
 * f32 [1, kvHeads, P, headSize]; outputs `logits` f32 [1, 1, vocabulary] of the last token and the longer `K.<layer>`, `V.<layer>`.
 */
export function makeMoe(format: MoeFormat): Uint8Array {
  const graph = new GraphWriter();
  const { hidden, layers, kvHeads, headSize, vocabulary } = shape;
  const ids = graph.input({ name: "ids", kind: "int64", dims: [1, "S"] });
  graph.input({ name: "past", kind: "int32", dims: [1] });
  graph.input({ name: "total", kind: "int32", dims: [1] });
  addRotaryTables(graph);

  let x = graph.node("Gather", [graph.weight("embed", [vocabulary, hidden], 2), ids], { axis: 0 });
  for (let l = 0; l < layers; l++) {
    for (const name of ["k", "v"])
      graph.input({ name: `${name}.${l}`, kind: "float32", dims: [1, kvHeads, "P", headSize] });
    x = graph.node("Add", [x, addAttention(graph, norm(graph, x, `norm1.${l}`, hidden), l, format)]);
    x = graph.node("Add", [x, addExperts(graph, norm(graph, x, `norm2.${l}`, hidden), l, format)]);
  }
  const last = graph.node("Slice", [
    x,
    graph.integers("-1", [-1]),
    graph.integers("end", [2 ** 40]),
    graph.integers("axis", [1]),
  ]);
  const logits = linear(graph, norm(graph, last, "norm", hidden), "head", hidden, vocabulary, format);
  graph.output(logits, { name: "logits", kind: "float32", dims: [1, 1, vocabulary] });
  return graph.encode();
}

function addAttention(graph: GraphWriter, x: string, l: number, format: MoeFormat): string {
  const { hidden, heads, kvHeads, headSize } = shape;
  const project = (name: string, count: number) => linear(graph, x, `${name}.${l}.w`, hidden, count * headSize, format);
  // Queries and keys are normalised by head.
  const normalise = (value: string, name: string, count: number) => {
    const split = graph.node("Reshape", [value, graph.integers(`split${count}`, [1, -1, count, headSize])]);
    return graph.node("Reshape", [
      norm(graph, split, `${name}.${l}`, headSize),
      graph.integers(`join${count}`, [1, -1, count * headSize]),
    ]);
  };
  const q = normalise(project("q", heads), "q_norm", heads);
  const k = normalise(project("k", kvHeads), "k_norm", kvHeads);
  const outputs = [`mixed.${l}`, `K.${l}`, `V.${l}`];
  graph.nodes.push({
    op: "GroupQueryAttention",
    domain: contributed,
    inputs: [q, k, project("v", kvHeads), `k.${l}`, `v.${l}`, "past", "total", "cos", "sin"],
    outputs,
    attributes: { num_heads: heads, kv_num_heads: kvHeads, do_rotary: 1, rotary_interleaved: 0 },
  });
  for (const name of outputs.slice(1))
    graph.outputs.push({ name, kind: "float32", dims: [1, kvHeads, "P + S", headSize] });
  return linear(graph, `mixed.${l}`, `o.${l}.w`, heads * headSize, hidden, format);
}

function addExperts(graph: GraphWriter, x: string, l: number, { experts: kind }: MoeFormat): string {
  const { hidden, experts, expertWidth, chosen } = shape;
  const scores = graph.node("MatMul", [x, graph.weight(`router.${l}`, [hidden, experts])]);
  const rows = graph.node("Reshape", [scores, graph.integers("rows", [-1, experts])]);
  const attributes = {
    k: chosen,
    activation_type: "swiglu",
    normalize_routing_weights: 1,
    swiglu_fusion: 1,
    activation_alpha: { float: 1 },
    activation_beta: { float: 0 },
  };
  if (kind === "f32") {
    const up = graph.weight(`up.${l}`, [experts, 2 * expertWidth, hidden], weightRange(hidden));
    const down = graph.weight(`down.${l}`, [experts, hidden, expertWidth], weightRange(expertWidth));
    return graph.node("MoE", [x, rows, up, "", down], attributes, contributed);
  }
  const quantised = (name: string, outputs: number, inputs: number): string[] => {
    const scales = new Float32Array(experts * outputs).fill(weightRange(inputs) / 16);
    graph.add({
      name,
      kind: "uint8",
      dims: [experts, outputs, inputs / 2],
      data: graph.random.bytes((experts * outputs * inputs) / 2),
    });
    graph.add({ name: `${name}.scale`, kind: "float32", dims: [experts, outputs], data: scales });
    return [name, `${name}.scale`];
  };
  const up = quantised(`up.${l}`, 2 * expertWidth, hidden);
  const down = quantised(`down.${l}`, hidden, expertWidth);
  return graph.node("QMoE", [x, rows, ...up, "", ...down], { ...attributes, expert_weight_bits: 4 }, contributed);
}

function linear(
  graph: GraphWriter,
  x: string,
  name: string,
  inputs: number,
  outputs: number,
  { dense }: MoeFormat,
): string {
  if (dense === "f32") return graph.node("MatMul", [x, graph.weight(name, [inputs, outputs])]);
  const block = 32;
  const blocks = inputs / block;
  graph.add({
    name,
    kind: "uint8",
    dims: [outputs, blocks, block / 2],
    data: graph.random.bytes((outputs * inputs) / 2),
  });
  graph.add({
    name: `${name}.scale`,
    kind: "float32",
    dims: [outputs * blocks],
    data: graph.random.floats(outputs * blocks, 0.02),
  });
  const attributes = { K: inputs, N: outputs, bits: 4, block_size: block, accuracy_level: 0 };
  return graph.node("MatMulNBits", [x, name, `${name}.scale`], attributes, contributed);
}

function norm(graph: GraphWriter, x: string, name: string, width: number): string {
  graph.add({ name, kind: "float32", dims: [width], data: new Float32Array(width).fill(1) });
  return graph.node("SimplifiedLayerNormalization", [x, name], { epsilon: { float: shape.epsilon }, axis: -1 });
}

function addRotaryTables(graph: GraphWriter): void {
  const half = shape.headSize / 2;
  const angles = Float64Array.from(
    { length: shape.context * half },
    (_, i) => Math.floor(i / half) * shape.theta ** (-(i % half) / half),
  );
  const dims = [shape.context, half];
  graph.add({ name: "cos", kind: "float32", dims, data: Float32Array.from(angles, Math.cos) });
  graph.add({ name: "sin", kind: "float32", dims, data: Float32Array.from(angles, Math.sin) });
}

/** Collects a graph; names of intermediate values are made up here. */
class GraphWriter {
  readonly nodes: OnnxNode[] = [];
  readonly outputs: OnnxValue[] = [];
  readonly random = new RandomWeights();
  readonly #inputs: OnnxValue[] = [];
  readonly #initializers = new Map<string, OnnxTensor>();

  input(value: OnnxValue): string {
    this.#inputs.push(value);
    return value.name;
  }

  output(from: string, value: OnnxValue): void {
    this.nodes.push({ op: "Identity", inputs: [from], outputs: [value.name] });
    this.outputs.unshift(value);
  }

  node(
    op: string,
    inputs: readonly string[],
    attributes: Readonly<Record<string, Attribute>> = {},
    domain = "",
  ): string {
    const name = `value${this.nodes.length}`;
    this.nodes.push({ op, domain, inputs, outputs: [name], attributes });
    return name;
  }

  add(tensor: OnnxTensor): void {
    this.#initializers.set(tensor.name, tensor);
  }

  weight(name: string, dims: readonly number[], range = weightRange(dims[0] ?? 1)): string {
    const count = dims.reduce((a, b) => a * b);
    this.add({ name, kind: "float32", dims, data: this.random.floats(count, range) });
    return name;
  }

  /** A small constant of integers; the same name always means the same numbers. */
  integers(name: string, values: readonly number[]): string {
    this.add({ name, kind: "int64", dims: [values.length], data: BigInt64Array.from(values, BigInt) });
    return name;
  }

  encode(): Uint8Array {
    return encodeModel({
      nodes: this.nodes,
      inputs: this.#inputs,
      outputs: this.outputs,
      initializers: [...this.#initializers.values()],
    });
  }
}
