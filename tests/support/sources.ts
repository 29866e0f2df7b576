/**
 * The project's own files as text, for tests about the code itself. Reading is by regular expression, which the house style
 * (one import a statement, prettier's layout) makes reliable enough; no parser is needed.
 */
import { globSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";

/** A TypeScript file: its path from the root with `/`, its text, and the same text with comments blanked out. */
export interface Source {
  readonly path: string;
  readonly text: string;
  readonly code: string;
}

/** What a file imports: one of ours as a path from the root, a package by its name. */
export interface Import {
  readonly from: string;
  readonly to: string;
}

/** Every `.ts` file below these folders. */
export function readSources(...folders: readonly string[]): Source[] {
  return globSync(folders.map((folder) => `${folder}/**/*.ts`))
    .map((path) => path.replaceAll("\\", "/"))
    .filter((path) => !path.includes("node_modules/"))
    .sort()
    .map((path) => {
      const text = readFileSync(path, "utf8");
      return { path, text, code: blankComments(text) };
    });
}

/** Static imports, re-exports and `import()` of a file. */
export function readImports({ path, code }: Source): Import[] {
  const statements = /^\s*(?:import|export)\s+(?:type\s)?(?:[\w*{][^"';]*\sfrom\s+)?"([^"]+)"/gm;
  const found = [...code.matchAll(statements)].map((m) => m[1] ?? "");
  const dynamic = [...code.matchAll(/\bimport\(\s*"([^"]+)"/g)].map((m) => m[1] ?? "");
  return [...found, ...dynamic].map((name) => ({
    from: path,
    to: name.startsWith(".") ? normalize(join(dirname(path), name)).replaceAll("\\", "/") : name,
  }));
}

/** Strings survive, even those that hold `//`. */
function blankComments(text: string): string {
  const tokens = /"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|`(?:\\.|[^`\\])*`|\/\*[^]*?\*\/|\/\/[^\n]*/g;
  return text.replace(tokens, (token) => (token.startsWith("/") ? token.replace(/[^\n]/g, " ") : token));
}
