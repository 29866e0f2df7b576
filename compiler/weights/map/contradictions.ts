/** What a config.json says twice, and not the same: transformers reads one of the two without a word, and so the other is told. */
import { type Diagnostic, MoeError } from "../../../grammar/diagnostic.ts";
import { type MapBinding, readRules } from "./config.ts";
import { chosenName, type ObjectNames, objectsOf } from "./config-objects.ts";
import { type ConfigFile, keySpan, toJson } from "./config-value.ts";

/** Warnings: an object under two names of which the one that is not read would give another model. */
export function findContradictions(map: MapBinding, config: ConfigFile): readonly Diagnostic[] {
  const objects = objectsOf(map);
  const read = settingsOf(map, config, objects);
  return objects.flatMap((names): readonly Diagnostic[] => {
    const chosen = chosenName(names, config);
    const others = names.filter((name) => name !== chosen && chosenName([name], config) !== undefined);
    return others.flatMap((other): readonly Diagnostic[] => {
      const otherwise = settingsOf(
        map,
        config,
        objects.map((o) => (o === names ? [other, ...names] : o)),
      );
      if (read === otherwise || chosen === undefined) return [];
      const [first, second] = [chosen.join("."), other.join(".")];
      return [
        {
          code: "map/two-objects",
          severity: "warning",
          message: `\`${first}\` is read, and \`${second}\`, which says something else, is not`,
          labels: [
            { span: keySpan(config, chosen), text: "read, as transformers does" },
            { span: keySpan(config, other), text: "not read" },
          ],
          notes: [],
          help: `let both say the same, or remove \`${second}\``,
        },
      ];
    });
  });
}

/** All that a config gives, as text; null where it gives no model. */
function settingsOf(map: MapBinding, config: ConfigFile, objects: readonly ObjectNames[]): string | null {
  try {
    return JSON.stringify(toJson(readRules(map, config, objects)));
  } catch (error) {
    if (error instanceof MoeError) return null;
    throw error;
  }
}
