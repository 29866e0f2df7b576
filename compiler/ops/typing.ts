/**
 * Type rules that several ops share: broadcasting by name, dtypes an op takes, axes that must be there or must be new.
 * Each rule gives the type or the first mismatch; wording of places is left to whoever shows the mismatch.
 */
import type { Axis, DType, TensorType } from "../graph/type.ts";
import { TIME, findAxis, hasAxis } from "../graph/type.ts";
import { Dim } from "../graph/dim.ts";
import type { Mismatch } from "./mismatch.ts";

export type Typed = TensorType | Mismatch;

/**
 * The type of an op that works element by element on operands broadcast by name. Axes: those of the first operand that
 * has all axes of the others, otherwise in order of first appearance. Equal labels must have equal sizes.
 */
export function joinTypes(dtype: DType, inputs: readonly TensorType[]): Typed {
  const axes: Axis[] = [];
  const owner: number[] = [];
  for (const [index, input] of inputs.entries()) {
    for (const axis of input.axes) {
      const at = axes.findIndex((a) => a.name === axis.name);
      const known = axes[at];
      if (known === undefined) {
        axes.push(axis);
        owner.push(index);
      } else if (!known.size.equals(axis.size)) return sizesDiffer(known, owner[at] ?? 0, axis, index);
    }
  }
  const widest = inputs.find((input) => input.axes.length === axes.length);
  return { dtype, axes: widest?.axes ?? axes };
}

/** What is kept of a token between steps has a size: besides time itself, no axis is as long as the sequence. */
export function checkRow(x: TensorType, input: number): Mismatch | null {
  const long = x.axes.find((a) => a.name !== TIME && a.size.dependsOn(TIME));
  if (long === undefined) return null;
  const message = `axis \`${long.name}\` is ${long.size.key}, as long as the sequence, and what looks along \`${TIME}\` keeps rows of a fixed size`;
  const help = `sum or choose along \`${long.name}\` first`;
  return mismatch("shape/row-size", message, { axis: long.name, inputs: [input], help });
}

export function sizesDiffer(a: Axis, inputA: number, b: Axis, inputB: number): Mismatch {
  return mismatch(
    "shape/axis-mismatch",
    `axis \`${a.name}\` is ${a.size.key} in one operand and ${b.size.key} in the other`,
    { axis: a.name, inputs: [inputA, inputB] },
  );
}

/** Null when every input has one of the dtypes and all have the same one. */
export function checkDtypes(inputs: readonly TensorType[], takes: readonly DType[]): Mismatch | null {
  for (const [index, input] of inputs.entries()) {
    if (!takes.includes(input.dtype)) {
      const wanted = takes.join(" or ");
      return mismatch("type/operand", `needs ${wanted}, but this is ${input.dtype}`, {
        inputs: [index],
        help: castHelp(takes),
        byDtype: true,
        isAboutOp: true,
      });
    }
    const first = inputs[0] ?? input;
    if (first.dtype !== input.dtype) {
      return mismatch("type/operands-differ", `one operand is ${first.dtype} and the other ${input.dtype}`, {
        inputs: [0, index],
        help: castHelp(takes),
        byDtype: true,
      });
    }
  }
  return null;
}

function castHelp(takes: readonly DType[]): string | null {
  return takes.includes("f32") ? "cast with f32(x)" : takes.includes("u32") ? "cast with u32(x)" : null;
}

/** Null when the input has all the axes. */
export function checkHas(input: TensorType, index: number, names: readonly string[]): Mismatch | null {
  const missing = names.find((name) => !hasAxis(input, name));
  if (missing === undefined) return null;
  const has = input.axes.length === 0 ? "none" : input.axes.map((a) => `\`${a.name}\``).join(", ");
  return mismatch("shape/missing-axis", `there is no axis \`${missing}\` here; the axes are: ${has}`, {
    axis: missing,
    inputs: [index],
  });
}

/** The type with these axes, unless two of them share a label. */
export function distinctAxes(dtype: DType, axes: readonly Axis[], inputs: readonly number[] = [0]): Typed {
  const twice = axes.find((a, i) => axes.findIndex((b) => b.name === a.name) !== i);
  if (twice === undefined) return { dtype, axes };
  return mismatch("shape/duplicate-axis", `the result would have axis \`${twice.name}\` twice`, {
    axis: twice.name,
    inputs,
    help: "rename one of them first",
  });
}

/** The axis list with one axis replaced in place. */
export function replaceAxis(type: TensorType, name: string, by: readonly Axis[]): readonly Axis[] {
  return type.axes.flatMap((a) => (a.name === name ? by : [a]));
}

/** The axis list without some labels. */
export function withoutAxes(type: TensorType, names: readonly string[]): readonly Axis[] {
  return type.axes.filter((a) => !names.includes(a.name));
}

/** An axis that a check has already found. */
export function axisOf(type: TensorType, name: string): Axis {
  const axis = findAxis(type, name);
  if (axis === null) throw new Error(`no axis ${name}`);
  return axis;
}

export function elementCount(type: TensorType): Dim {
  return Dim.product(type.axes.map((a) => a.size));
}

export function mismatch(
  code: string,
  message: string,
  where: Pick<Mismatch, "inputs"> &
    Partial<Pick<Mismatch, "help" | "byDtype" | "isAboutOp">> & { readonly axis?: string },
): Mismatch {
  const { axis = null, inputs, help = null, byDtype = false, isAboutOp = false } = where;
  return { kind: "mismatch", code, message, axis, inputs, help, byDtype, isAboutOp };
}

/** Operands by position. A wrong count is a bug of the caller, not of the `.moe` text. */
export function one<A>(list: readonly A[]): A {
  const [a] = list;
  if (a === undefined || list.length !== 1) throw new Error(`one operand expected, got ${list.length}`);
  return a;
}

export function two<A>(list: readonly A[]): readonly [A, A] {
  const [a, b] = list;
  if (a === undefined || b === undefined || list.length !== 2) {
    throw new Error(`two operands expected, got ${list.length}`);
  }
  return [a, b];
}

export function three<A>(list: readonly A[]): readonly [A, A, A] {
  const [a, b, c] = list;
  if (a === undefined || b === undefined || c === undefined || list.length !== 3) {
    throw new Error(`three operands expected, got ${list.length}`);
  }
  return [a, b, c];
}
