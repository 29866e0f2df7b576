/** The parts of a model, by path: every layer that is a member of another, those of a stack one by one; a bank of layers is one. */
import { fillPath } from "../../graph/path.ts";
import type { Instance } from "../interpret/value.ts";
import type { Model } from "./model.ts";

/** In order of declaration, what holds others before them; without the model itself. */
export function listParts({ instance }: Model): readonly string[] {
  const found: string[] = [];
  const visit = (current: Instance, layers: ReadonlyMap<string, number>): void => {
    for (const member of current.members.values()) {
      const inside =
        member.kind === "layer"
          ? [{ layer: member.instance, at: layers }]
          : member.kind === "stack"
            ? member.layers.map((layer, i) => ({ layer, at: new Map([...layers, [layer.path, i]]) }))
            : [];
      for (const { layer, at } of inside) {
        found.push(fillPath(layer.path, at));
        visit(layer, at);
      }
    }
  };
  visit(instance, new Map());
  return found;
}
