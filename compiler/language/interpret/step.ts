/** What an optimizer's `step` may be given, by name. A step takes those that it asks for. */
import type { LayerDecl, Port } from "../../../grammar/ast.ts";
import { textOf } from "../../../grammar/span.ts";
import { type Env, report } from "./context.ts";

/** `tensor` has the shape that the optimizer is for; `number` is one for the whole step, which the host computes. */
export const STEP_INPUTS: Readonly<Record<string, { readonly is: "tensor" | "number"; readonly doc: string }>> = {
  w: { is: "tensor", doc: "the parameter" },
  g: { is: "tensor", doc: "its gradient" },
  rate: { is: "number", doc: "the learning rate of this step" },
  t: { is: "number", doc: "the number of this step, from 1" },
  of: { is: "number", doc: "how many steps the run has" },
};

/** Reports an input that no step has, or that is written with another type; `w` has to be there. */
export function areStepInputs(env: Env, decl: LayerDecl): boolean {
  const { forward, shape, name, members } = decl;
  if (forward === null) return true;
  const wanted =
    shape === null
      ? "[..]"
      : textOf({ ...shape.span, start: shape.axes[0]?.span.start ?? 0, end: shape.axes.at(-1)?.span.end ?? 0 });
  const tensor = shape === null ? wanted : `[${wanted}]`;
  for (const port of forward.params) {
    const row = Object.hasOwn(STEP_INPUTS, port.name.text) ? STEP_INPUTS[port.name.text]! : null;
    if (row === null) {
      const all = Object.entries(STEP_INPUTS).map(([input, { doc }]) => `\`${input}\` (${doc})`);
      report(
        env,
        "type/step-input",
        `no optimizer step has an input \`${port.name.text}\``,
        port.span,
        "not an input",
        `the inputs are ${all.join(", ")}`,
      );
      return false;
    }
    const type = row.is === "tensor" ? tensor : "[]";
    if (axesOf(port) === type) continue;
    report(
      env,
      "type/step-input",
      `\`${port.name.text}\`, ${row.doc}, is \`${type}\` here`,
      port.span,
      "declared otherwise",
      `write \`${port.name.text}: ${type}\``,
      shape === null || row.is === "number" ? [] : [{ span: shape.span, text: "what the optimizer is for" }],
    );
    return false;
  }
  const hidden = members.find((m) => Object.hasOwn(STEP_INPUTS, m.name.text));
  if (hidden !== undefined) {
    report(
      env,
      "name/taken",
      `\`${hidden.name.text}\` is what every step is given, and cannot name a state`,
      hidden.name.span,
      "named here",
      "choose another name",
    );
    return false;
  }
  if (forward.params.some((p) => p.name.text === "w")) return true;
  report(
    env,
    "type/step-input",
    `the step of \`${name.text}\` does not take the parameter that it changes`,
    forward.params[0]?.span ?? name.span,
    "no `w` among these",
    `add \`w: ${tensor}\``,
  );
  return false;
}

/** The axes of a port's type, in one way of writing them; null where it is no f32 tensor, or has a default. */
function axesOf({ type, default: initial }: Port): string | null {
  if (type?.kind !== "tensor-type" || initial !== null || (type.dtype !== null && type.dtype.text !== "f32"))
    return null;
  return `[${type.axes.map((a) => (a.kind === "rest" ? ".." : textOf(a.span))).join(", ")}]`;
}
