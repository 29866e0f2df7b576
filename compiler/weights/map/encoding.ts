/**
 * Encodings: tensors that a checkpoint stores as several smaller ones, numbers of few bits beside the scales of their blocks.
 * Here is what is known without reading: the parts, their types and shapes, and what the values become. Runtimes decode.
 *
 * mxfp4: 4-bit floats E2M1 in blocks of 32 along the last axis, two to a byte, the first in the low half, each block with an
 * exponent E8M0. OCP Microscaling Formats (MX), version 1.0 (2023). Values are exact in bf16.
 * fp8: E4M3 in blocks of 128 by 128 of a matrix, each with a factor. arXiv 2412.19437. Values are rounded to bf16.
 */
import type { MapRule } from "../../../grammar/ast.ts";
import type { DiagnosticBag } from "../../../grammar/diagnostic.ts";
import { suggest } from "../../../grammar/index.ts";

export interface Encoding {
  readonly parts: readonly EncodedPart[];
  /** What decoded values are held as. */
  readonly storage: "bf16";
  /** What is wrong with tensors of this shape; null when they can be encoded. */
  readonly refuses: (shape: readonly number[]) => string | null;
}

interface EncodedPart {
  /** What it holds, for messages. */
  readonly what: string;
  /** Names of safetensors types. */
  readonly dtypes: readonly string[];
  /** Of a tensor whose values have this shape. */
  readonly shape: (values: readonly number[]) => readonly number[];
}

export const MX_BLOCK = 32;
export const FP8_BLOCK = 128;

const head = (shape: readonly number[]): readonly number[] => shape.slice(0, -1);
const blocks = (shape: readonly number[]): number => Math.ceil((shape.at(-1) ?? 1) / MX_BLOCK);

export const encodings = {
  mxfp4: {
    parts: [
      { what: "blocks", dtypes: ["U8"], shape: (s) => [...head(s), blocks(s), MX_BLOCK / 2] },
      { what: "scales", dtypes: ["U8"], shape: (s) => [...head(s), blocks(s)] },
    ],
    storage: "bf16",
    refuses: (s) =>
      s.length > 0 && s.at(-1)! % MX_BLOCK === 0 ? null : `the last axis is not made of blocks of ${MX_BLOCK}`,
  },
  fp8: {
    parts: [
      { what: "values", dtypes: ["F8_E4M3"], shape: (s) => s },
      { what: "scales", dtypes: ["F32", "BF16"], shape: (s) => s.map((n) => Math.ceil(n / FP8_BLOCK)) },
    ],
    storage: "bf16",
    refuses: (s) => (s.length === 2 ? null : "only matrices are stored so"),
  },
} as const satisfies Record<string, Encoding>;

export type EncodingName = keyof typeof encodings;

/** How one tensor is stored: the names of its parts, in the encoding's order. */
export interface StoredAs {
  readonly encoding: EncodingName;
  readonly parts: readonly string[];
}

export type StoredRule = Extract<MapRule, { kind: "stored" }>;

/** Reports an encoding that there is not, and names that do not fit it. */
export function checkStored(rule: StoredRule, bag: DiagnosticBag): boolean {
  const { encoding, patterns } = rule;
  const known = encodingOf(rule);
  if (known === null) {
    const near = suggest(encoding.text, Object.keys(encodings));
    bag.error(
      "map/encoding",
      `there is no encoding \`${encoding.text}\``,
      [{ span: encoding.span, text: "not an encoding" }],
      near === null ? `the encodings are ${Object.keys(encodings).join(", ")}` : `did you mean \`${near}\`?`,
    );
    return false;
  }
  const parts = encodings[known].parts.map((part) => part.what);
  const wrong = patterns.find((pattern) => pattern.value.split("*").length !== 2);
  if (patterns.length === parts.length && wrong === undefined) return true;
  bag.error(
    "map/encoding",
    `\`${known}\` has ${parts.join(" and ")}, each with a name in which \`*\` is the tensor's`,
    [
      wrong === undefined
        ? { span: rule.span, text: `${patterns.length} named here` }
        : { span: wrong.span, text: "not one `*`" },
    ],
    `write \`stored ${known}(${parts.map((part) => `"*_${part}"`).join(", ")})\` with the names that checkpoints use`,
  );
  return false;
}

/** How a tensor is stored, by the first rule of whose parts one is there; the tensor itself is none. Null: as it is. */
export function storedAs(tensor: string, rules: readonly StoredRule[], present: ReadonlySet<string>): StoredAs | null {
  for (const rule of rules) {
    const encoding = encodingOf(rule);
    if (encoding === null) continue;
    const parts = rule.patterns.map((pattern) => pattern.value.replace("*", () => tensor));
    if (parts.some((part) => part !== tensor && present.has(part))) return { encoding, parts };
  }
  return null;
}

function encodingOf({ encoding: { text } }: StoredRule): EncodingName | null {
  return Object.hasOwn(encodings, text) ? (text as EncodingName) : null;
}
