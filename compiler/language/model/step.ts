/** What an optimizer must be beside what every layer must: it remembers states that begin as one number, and gives the parameter of the next step. */
import type { Span } from "../../../grammar/span.ts";
import type { Output } from "../../graph/node.ts";
import { findAxis, formatType, type TensorType } from "../../graph/type.ts";
import { type Env, report } from "../interpret/context.ts";
import type { Init, Instance } from "../interpret/value.ts";

interface Remembered {
  readonly path: string;
  readonly state: boolean;
  readonly init: Init;
  readonly span: Span;
}

/** Reports what does not belong into an optimizer. `stepped` is the type of the parameter. */
export function isStep(
  env: Env,
  { decl }: Instance,
  parameters: readonly Remembered[],
  outputs: readonly Output[],
  stepped: TensorType,
): boolean {
  for (const { path, state, init, span } of parameters) {
    const isFixed = init.kind === "zeros" || init.kind === "ones" || init.kind === "constant";
    if (state && isFixed) continue;
    const what = state ? `\`${path}\` begins at random` : `\`${path}\` is a parameter`;
    report(
      env,
      "type/optimizer-part",
      `${what}, and an optimizer remembers states that begin as one number`,
      span,
      "declared here",
      "declare it as `state[..](zeros)`",
      [{ span: decl.name.span, text: "in this optimizer" }],
    );
    return false;
  }
  for (const { name, role, node } of outputs) {
    if (role !== "loss" && role !== "metric") continue;
    report(
      env,
      "type/optimizer-part",
      `a ${role} belongs into a layer, and \`${decl.name.text}\` is an optimizer`,
      node.origin ?? decl.name.span,
      role === "loss" ? "a loss" : `\`${name}\``,
      "remove it",
      [{ span: decl.name.span, text: "in this optimizer" }],
    );
    return false;
  }
  const [out, ...more] = outputs.filter((o) => o.role === "result");
  if (out !== undefined && more.length === 0 && haveSameAxes(out.node.type, stepped)) return true;
  const found =
    more.length > 0 ? `${more.length + 1} results` : out === undefined ? "nothing" : formatType(out.node.type);
  report(
    env,
    "shape/step",
    `the step of \`${decl.name.text}\` gives ${found}, and its parameter is ${formatType(stepped)}`,
    out?.node.origin ?? decl.name.span,
    "this is returned",
    "return what the parameter is after the step",
    [{ span: decl.forward?.span ?? decl.name.span, text: "the step" }],
  );
  return false;
}

/** In whatever order. */
function haveSameAxes(a: TensorType, b: TensorType): boolean {
  return (
    a.dtype === b.dtype &&
    a.axes.length === b.axes.length &&
    a.axes.every((x) => findAxis(b, x.name)?.size.equals(x.size) === true)
  );
}
