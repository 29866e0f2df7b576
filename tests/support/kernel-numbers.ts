/**
 * Numbers in the code that makes kernels. Those that are chosen are rows of `compiler/codegen/kernel/tuning.ts`; what stands elsewhere follows
 * from something, and is listed with it. Up to four they are lanes of a vector, bytes of a word and the like, which every kernel counts in,
 * unless they have a name of their own. What is inside a piece of WGSL is not seen.
 */
import { parsers } from "prettier/plugins/babel";
import { readSources } from "./sources.ts";

export const TUNING = "compiler/codegen/kernel/tuning.ts";

const MOST = 4;

/** Numbers that are not chosen, by file. */
export const DERIVED: readonly {
  readonly path: string;
  readonly numbers: readonly number[];
  readonly why: string;
}[] = [
  {
    path: "compiler/codegen/assemble/collect.ts",
    numbers: [256, 2048],
    why: "sizes of a step by which temporaries share memory: no kernel depends on them",
  },
  {
    path: "compiler/codegen/assemble/function.ts",
    numbers: [8],
    why: "bytes of an element that is read and written",
  },
  {
    path: "compiler/codegen/assemble/update-matrix.ts",
    numbers: [8],
    why: "bytes of an element that is read and written",
  },
  {
    path: "compiler/codegen/assemble/work.ts",
    numbers: [4096],
    why: "an estimate for reports: bytes of a weight that is picked from",
  },
  {
    path: "compiler/codegen/kernel/contraction/weights.ts",
    numbers: [16],
    why: "bytes of four words, which weights are bound in",
  },
  {
    path: "compiler/codegen/lower/weight.ts",
    numbers: [16],
    why: "the same",
  },
  {
    path: "compiler/codegen/wgsl/unpack.ts",
    numbers: [5, 32],
    why: "bits of a word, and their logarithm",
  },
  {
    path: "compiler/codegen/kernel/sample.ts",
    numbers: [8, 17, 256, 0xffffffff],
    why: "the layout of settings, no token, and the words of an invocation's tallies: sixteen values of four bits, and one",
  },
  {
    path: "compiler/codegen/lower/text.ts",
    numbers: [3.4028234663852886e38, 0x7fffffff, 0x80000000, 0xffffffff],
    why: "bounds of f32, i32 and u32",
  },
];

interface Found {
  readonly path: string;
  readonly line: number;
  readonly value: number;
}

/** Every number of `compiler/codegen/` but of the table of them: larger ones anywhere, and any that is the value of a name at the top of a file. */
export function kernelNumbers(): readonly Found[] {
  return readSources("compiler/codegen")
    .filter(({ path }) => path !== TUNING)
    .flatMap(({ path, text }) => numbersOf(text).map((found) => ({ path, ...found })));
}

export function numbersOf(text: string): readonly Omit<Found, "path">[] {
  const file = parsers["babel-ts"].parse(text, {} as never) as { readonly program: { readonly body: readonly Part[] } };
  return file.program.body.flatMap((statement) => {
    const named = declaredNumber(statement);
    return named === null ? literalsOf(statement).filter(({ value }) => value > MOST || value % 1 !== 0) : [named];
  });
}

interface Part {
  readonly type: string;
  readonly value?: unknown;
  readonly loc: { readonly start: { readonly line: number } };
}

/** `const NAME = 4;` */
function declaredNumber(statement: Part): Omit<Found, "path"> | null {
  const { declaration = statement } = statement as { readonly declaration?: Part | null };
  const { declarations = [] } = (declaration ?? {}) as { readonly declarations?: readonly { readonly init?: Part }[] };
  const [first] = declarations;
  return first?.init?.type === "NumericLiteral"
    ? { line: first.init.loc.start.line, value: first.init.value as number }
    : null;
}

function literalsOf(part: unknown): readonly Omit<Found, "path">[] {
  if (Array.isArray(part)) return part.flatMap(literalsOf);
  if (part === null || typeof part !== "object") return [];
  const { type, value, loc } = part as Partial<Part>;
  if (type === "NumericLiteral") return [{ line: loc!.start.line, value: value as number }];
  return Object.entries(part).flatMap(([key, inside]) => (key === "loc" ? [] : literalsOf(inside)));
}
