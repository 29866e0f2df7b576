/** Each text is parsed once, for all workspaces that have it; what nobody holds any more is forgotten. */
import { parse, type ParsedFile } from "../../../grammar/parse.ts";
import type { SourceFile } from "../../../grammar/span.ts";

export class Parses {
  readonly #known = new WeakMap<SourceFile, ParsedFile>();

  of(file: SourceFile): ParsedFile {
    const known = this.#known.get(file);
    if (known !== undefined) return known;
    const parsed = parse(file);
    this.#known.set(file, parsed);
    return parsed;
  }
}
