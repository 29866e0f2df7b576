/** `rotary <-> map rope_scaling`: the rules of a parameter that is a layer, which other maps share. */
import type { Expr, Name } from "../../../grammar/ast.ts";
import { type Diagnostic, MoeError } from "../../../grammar/diagnostic.ts";
import type { MapBinding, Scope } from "../../language/resolve/scope.ts";

/** The map that `rotary <-> map name` names, or what is wrong with it. */
export function findPart(name: Name, left: Expr, scope: Scope): MapBinding | Diagnostic {
  const found = scope.lookup(name.text);
  const wrong =
    found?.item.kind !== "map"
      ? "there is no such map here"
      : found.item.rules.length > 0 || found.item.config.some((rule) => rule.map !== null)
        ? "this map has more than keys"
        : left.kind !== "name"
          ? "its layer is no parameter"
          : null;
  if (wrong === null) return found as MapBinding;
  return {
    code: "map/part",
    severity: "error",
    message: `\`map ${name.text}\` gives no parameter its value`,
    labels: [{ span: name.span, text: wrong }],
    notes: [],
    help: "write `parameter <-> map name` with a map of a layer that has nothing but keys, imported where another file has it",
  };
}

/** Throws `map/part`. */
export function mapOfPart(name: Name, left: Expr, scope: Scope): MapBinding {
  const found = findPart(name, left, scope);
  if ("code" in found) throw new MoeError(found);
  return found;
}

/** A map and the maps of its parts. */
export function withParts(map: MapBinding): readonly MapBinding[] {
  const parts = map.item.config.flatMap(({ map: name, left }) =>
    name === null ? [] : [mapOfPart(name, left, map.scope)],
  );
  return [map, ...parts];
}
