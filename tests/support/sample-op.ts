/**
 * What the samples of an op's row say beyond themselves, for tests that want to meet every op: types of operands, and other values of its
 * attributes. So a new op needs no entry in any test. Limits: an attribute is varied by what other samples have, by its sign and size, and
 * by the other axes of the operands; one that cannot be told apart so has to be given.
 */
import type { Attrs, OpName } from "../../compiler/graph/attrs.ts";
import { Dim } from "../../compiler/graph/dim.ts";
import type { Axis, DType } from "../../compiler/graph/type.ts";
import type { Sample } from "../../compiler/ops/define.ts";
import { ops } from "../../compiler/ops/table.ts";

export const samplesOf = (op: OpName): readonly Sample<OpName>[] => ops[op].samples as readonly Sample<OpName>[];

/** `T=2 D=3`, as samples write axes. */
export function axesOfSample(text: string): readonly { readonly name: string; readonly size: number }[] {
  return text
    .split(" ")
    .filter((part) => part !== "")
    .map((part) => {
      const [name = "", size] = part.split("=");
      return { name, size: Number(size) };
    });
}

/** The types of a sample's operands as text, time without its size. */
export function typesOfSample({ inputs }: Sample<OpName>): readonly string[] {
  return inputs.map(({ axes, dtype = "f32" }) => {
    const list = axesOfSample(axes).map(({ name, size }) => (name === "T" ? "T" : `${name}=${size}`));
    return `${dtype}[${list.join(", ")}]`;
  });
}

/** Attributes of a sample with axes under other names and sizes. */
export function renameAttrs<O extends OpName>(attrs: Attrs[O], axes: ReadonlyMap<string, Axis>): Attrs[O] {
  const rename = (value: unknown): unknown => {
    if (typeof value === "string") return axes.get(value)?.name ?? value;
    if (Array.isArray(value)) return value.map(rename);
    if (typeof value !== "object" || value === null || value instanceof Dim) return value;
    if ("name" in value && "size" in value) return axes.get(String(value.name)) ?? value;
    return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, rename(inner)]));
  };
  return rename(attrs) as Attrs[O];
}

/** Axes that attributes introduce: none of the operands' has their names. */
export function axesMade(attrs: object): readonly Axis[] {
  return Object.values(attrs).flatMap((value: unknown): readonly Axis[] => {
    if (Array.isArray(value)) return value.flatMap((v: unknown) => axesMade({ v }));
    const isAxis = typeof value === "object" && value !== null && "name" in value && "size" in value;
    return isAxis ? [value as Axis] : [];
  });
}

/** Other values for every attribute of a sample; throws where it finds none. */
export function varySample(op: OpName, sample: Sample<OpName>): Readonly<Record<string, readonly unknown[]>> {
  const names = new Set(sample.inputs.flatMap(({ axes }) => axesOfSample(axes).map((a) => a.name)));
  return Object.fromEntries(
    Object.entries(sample.attrs).map(([name, value]): [string, readonly unknown[]] => {
      const shown = samplesOf(op)
        .filter((other) => typesOfSample(other).join() === typesOfSample(sample).join())
        .map(({ attrs }) => (attrs as Readonly<Record<string, unknown>>)[name])
        .filter((other) => JSON.stringify(other) !== JSON.stringify(value));
      const others = [...shown, ...variationsOf(value, names)];
      if (others.length === 0)
        throw new Error(`no sample of \`${op}\` shows what \`${name}\` does: give its row one with another value`);
      return [name, others.slice(0, 2)];
    }),
  );
}

function variationsOf(value: unknown, axes: ReadonlySet<string>): readonly unknown[] {
  if (typeof value === "boolean") return [!value];
  if (typeof value === "number") return [value + 1];
  if (typeof value === "string" && axes.has(value)) return [...axes].filter((name) => name !== value);
  const [first, ...more] = Array.isArray(value) ? (value as readonly unknown[]) : [];
  if (typeof first === "string" && more.length === 0) return variationsOf(first, axes).map((name) => [name]);
  return [];
}

/** The numbers that operand `i` has in the samples of an op, and its dtypes there. */
export function rangeOfOperand(
  op: OpName,
  i: number,
): { readonly data: readonly number[]; readonly dtypes: readonly DType[] } {
  const inputs = samplesOf(op).flatMap((sample) => sample.inputs[i] ?? []);
  return { data: inputs.flatMap((x) => x.data), dtypes: [...new Set(inputs.map((x) => x.dtype ?? "f32"))] };
}
