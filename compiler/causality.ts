/**
 * Which outputs of a model look at later tokens, through which expression of which layer, for each purpose that its program may
 * have. Equal layers give one answer.
 */
import { formatSpan } from "../grammar/index.ts";
import type { Output } from "./graph/node.ts";
import { withHoles } from "./graph/path.ts";
import type { Purpose } from "./language/interpret/context.ts";
import { buildProgram, newContext, type Model } from "./language/model/model.ts";
import { peeksOf } from "./pipeline.ts";
import { findLooks } from "./refusal.ts";

export interface OutputTime {
  /** With `#` for the numbers of layers. */
  readonly output: string;
  readonly role: Output["role"];
  readonly purpose: Purpose;
  /** Empty where each token's value needs earlier tokens alone, or is a sum that each step adds its part to. */
  readonly looksAhead: readonly LookAhead[];
}

export interface LookAhead {
  readonly expression: string;
  /** `router TopK`; null outside of layers. */
  readonly layer: string | null;
  /** `file:line:column`; null where a pass made the op. */
  readonly place: string | null;
}

export function describeTime(model: Model): readonly OutputTime[] {
  return (["evaluate", "train", "generate"] as const).flatMap((purpose) => {
    const ctx = newContext("build", undefined, purpose);
    const program = buildProgram(model.instance, ctx);
    const kinds = Map.groupBy(program.main.outputs, (o) => withHoles(o.name));
    return [...kinds].map(([output, [first]]): OutputTime => {
      const looks = findLooks(peeksOf(program, [first!.name]), program, ctx.sites);
      const looksAhead = looks.map(({ subject, place, site }): LookAhead => {
        const layer = site?.layers.at(-1)?.layer;
        return {
          expression: subject,
          layer: layer === undefined ? null : `${layer.keyword} ${layer.name.text}`,
          place: place === null ? null : formatSpan(place),
        };
      });
      return { output, role: first!.role, purpose, looksAhead };
    });
  });
}
