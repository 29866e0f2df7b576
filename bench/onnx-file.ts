/**
 * Writes ONNX files: the part of its protobuf schema (onnx.proto, IR version 10) that a graph with initializers needs.
 * Numbers beside the fields are those of the schema.
 */

/** Pieces of a message, joined once at the very end: weights are hundreds of megabytes. */
type Bytes = readonly Uint8Array[];

export type ElementKind = "float32" | "uint8" | "int32" | "int64";
export type Attribute = number | string | readonly number[] | { readonly float: number };

export interface OnnxTensor {
  readonly name: string;
  readonly kind: ElementKind;
  readonly dims: readonly number[];
  readonly data: Float32Array | Uint8Array | Int32Array | BigInt64Array;
}

/** A size may be a name, for one that is known only at run time. */
export interface OnnxValue {
  readonly name: string;
  readonly kind: ElementKind;
  readonly dims: readonly (number | string)[];
}

export interface OnnxNode {
  readonly op: string;
  readonly domain?: string;
  /** An empty name stands for an optional input that is left out. */
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attributes?: Readonly<Record<string, Attribute>>;
}

export interface OnnxGraph {
  readonly nodes: readonly OnnxNode[];
  readonly inputs: readonly OnnxValue[];
  readonly outputs: readonly OnnxValue[];
  readonly initializers: readonly OnnxTensor[];
}

/** The contributed operators of ONNX Runtime. */
export const contributed = "com.microsoft";

export function encodeModel(graph: OnnxGraph): Uint8Array {
  const body = [
    ...graph.nodes.flatMap((node) => message(1, encodeNode(node))),
    ...text(2, "graph"),
    ...graph.initializers.flatMap((tensor) => message(5, encodeTensor(tensor))),
    ...graph.inputs.flatMap((value) => message(11, encodeValue(value))),
    ...graph.outputs.flatMap((value) => message(12, encodeValue(value))),
  ];
  const opsets = [
    message(8, [...text(1, ""), ...integer(2, 21)]),
    message(8, [...text(1, contributed), ...integer(2, 1)]),
  ].flat();
  return Buffer.concat([...integer(1, 10), ...text(2, "moec bench"), ...message(7, body), ...opsets]);
}

const elementKinds: Readonly<Record<ElementKind, number>> = { float32: 1, uint8: 2, int32: 6, int64: 7 };

function encodeNode({ op, domain = "", inputs, outputs, attributes = {} }: OnnxNode): Bytes {
  return [
    ...inputs.flatMap((name) => text(1, name)),
    ...outputs.flatMap((name) => text(2, name)),
    ...text(3, `${outputs[0]}/node`),
    ...text(4, op),
    ...Object.entries(attributes).flatMap(([name, value]) => message(5, [...text(1, name), ...encodeAttribute(value)])),
    ...text(7, domain),
  ];
}

/** The value, then what kind of value it is (field 20). */
function encodeAttribute(value: Attribute): Bytes {
  if (typeof value === "string") return [...text(4, value), ...integer(20, 3)];
  if (typeof value === "number") return [...integer(3, value), ...integer(20, 2)];
  if ("float" in value) return [tag(2, 5), new Uint8Array(Float32Array.of(value.float).buffer), ...integer(20, 1)];
  return [...value.flatMap((v) => integer(8, v)), ...integer(20, 7)];
}

function encodeTensor({ name, kind, dims, data }: OnnxTensor): Bytes {
  const raw = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  return [
    ...dims.flatMap((d) => integer(1, d)),
    ...integer(2, elementKinds[kind]),
    ...text(8, name),
    ...message(9, [raw]),
  ];
}

function encodeValue({ name, kind, dims }: OnnxValue): Bytes {
  const sizes = dims.flatMap((d) => message(1, typeof d === "number" ? integer(1, d) : text(2, d)));
  const tensorKind = [...integer(1, elementKinds[kind]), ...message(2, sizes)];
  return [...text(1, name), ...message(2, message(1, tensorKind))];
}

function message(field: number, parts: Bytes): Bytes {
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  return [tag(field, 2), varint(length), ...parts];
}

function text(field: number, value: string): Bytes {
  return message(field, [Buffer.from(value)]);
}

function integer(field: number, value: number): Bytes {
  return [tag(field, 0), varint(value)];
}

function tag(field: number, wire: number): Uint8Array {
  return varint(field * 8 + wire);
}

/** Seven bits a byte, lowest first; negative numbers as 64-bit two's complement. */
function varint(value: number): Uint8Array {
  const out: number[] = [];
  let rest = BigInt.asUintN(64, BigInt(value));
  while (rest >= 128n) {
    out.push(Number(rest & 127n) | 128);
    rest >>= 7n;
  }
  return Uint8Array.of(...out, Number(rest));
}
