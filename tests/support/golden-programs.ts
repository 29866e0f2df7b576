/**
 * Programs with something wrong, and all that is said about it, in one file each: `tests/errors/<layer>/<code>.moe` is what a newcomer might
 * write, then a line `//>` for each line of the message, which is no part of the program. `<code>--case.moe` shows another way to the code.
 */
import { globSync, readFileSync, writeFileSync } from "node:fs";

const folder = "tests/errors";
const MARK = "//>";

export interface GoldenProgram {
  /** From the folder of these programs. */
  readonly path: string;
  readonly text: string;
  readonly said: string;
}

/** Those of one layer, or all. */
export function readGoldenPrograms(layer = "**"): readonly GoldenProgram[] {
  return globSync(`${folder}/${layer}/*.moe`)
    .map((path) => path.replaceAll("\\", "/").slice(folder.length + 1))
    .sort()
    .map((path) => {
      const lines = readFileSync(`${folder}/${path}`, "utf8").split(/(?<=\n)/);
      const said = lines.filter((line) => line.startsWith(MARK));
      return {
        path,
        text: lines.slice(0, lines.length - said.length).join(""),
        said: said.map((line) => line.slice(MARK.length).replace(/^ /, "")).join(""),
      };
    });
}

export function writeGolden({ path, text }: GoldenProgram, said: string): void {
  const lines = said.split(/(?<=\n)/).map((line) => (line === "\n" ? `${MARK}\n` : `${MARK} ${line}`));
  writeFileSync(`${folder}/${path}`, text + lines.join(""));
}
