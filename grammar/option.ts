/**
 * What a caller may give to a function of the library, as data: one row per option or argument. A table that lacks an option of
 * its type does not compile, and everything that is not in a table is refused. Limits: what an object is made of is looked at
 * only as far as its row says.
 */
import { type Diagnostic, failure, type MoeError } from "./diagnostic.ts";
import type { SourceFile, Span } from "./span.ts";
import { suggest } from "./suggest.ts";

export interface Rule {
  /** Completes "has to be ...". */
  readonly allowed: string;
  readonly accepts: (value: unknown) => boolean;
}

/** A rule of something that may not be left out. */
export interface Needed extends Rule {
  readonly needed: true;
}

/** A row for every option of a type; those that may not be left out are `needed`. */
export type Rules<O> = { readonly [K in keyof O]-?: object extends Pick<O, K> ? Rule : Needed };

export const needed = (rule: Rule): Needed => ({ ...rule, needed: true });

/** What is counted fits into 31 bits: slots, tokens, positions. */
const MOST = 2 ** 31 - 1;

export function whole(from: number, to: number = MOST): Rule {
  return {
    allowed: `a whole number from ${from} to ${to}`,
    accepts: (v) => Number.isInteger(v) && (v as number) >= from && (v as number) <= to,
  };
}

export function number(from: number, to: number | null = null): Rule {
  return {
    allowed: `a number from ${from}${to === null ? "" : ` to ${to}`}`,
    accepts: (v) => typeof v === "number" && Number.isFinite(v) && v >= from && (to === null || v <= to),
  };
}

export const text: Rule = { allowed: "a text", accepts: (v) => typeof v === "string" && v !== "" };

export const anyText: Rule = { allowed: "a text, or an empty one", accepts: (v) => typeof v === "string" };

export const flag: Rule = { allowed: "true or false", accepts: (v) => typeof v === "boolean" };

export const callback: Rule = { allowed: "a function", accepts: (v) => typeof v === "function" };

export const signal: Rule = { allowed: "an AbortSignal", accepts: (v) => v instanceof AbortSignal };

export function oneOf(...words: readonly string[]): Rule {
  return {
    allowed: words.map((w) => `"${w}"`).join(" or "),
    accepts: (v) => typeof v === "string" && words.includes(v),
  };
}

export function list(of: Rule, what: string): Rule {
  return { allowed: what, accepts: (v) => Array.isArray(v) && v.every(of.accepts) };
}

export function orNull(rule: Rule): Rule {
  return { allowed: `${rule.allowed}, or null`, accepts: (v) => v === null || rule.accepts(v) };
}

/** Numbers in an array or a typed array; which of them are tokens is told where they are run. */
export const ids: Rule = {
  allowed: "a list of token ids",
  accepts: (v) =>
    (Array.isArray(v) || (ArrayBuffer.isView(v) && !(v instanceof DataView))) &&
    Array.prototype.every.call(v, (id) => typeof id === "number"),
};

/** The same, where no vocabulary is at hand to hold them against. */
export const wholeIds: Rule = {
  allowed: "a list of token ids, whole numbers from 0",
  accepts: (v) => ids.accepts(v) && Array.prototype.every.call(v, whole(0).accepts),
};

export const sequences: Rule = list(ids, "a list of lists of token ids");

/** An object that has these members, whatever else it has. */
export function object(allowed: string, ...members: readonly string[]): Rule {
  return {
    allowed,
    accepts: (v) =>
      (typeof v === "object" || typeof v === "function") && v !== null && members.every((m) => m in (v as object)),
  };
}

/** Of an object, what a table says of its members. */
export function members<O>(allowed: string, rules: Rules<O>): Rule {
  const rows = Object.entries(rules) as readonly [string, Rule & Partial<Needed>][];
  return {
    allowed,
    accepts: (v) =>
      typeof v === "object" &&
      v !== null &&
      rows.every(([name, rule]) => {
        const given = (v as Record<string, unknown>)[name];
        return given === undefined ? rule.needed !== true : rule.accepts(given);
      }),
  };
}

export const sourceFile: Rule = members<SourceFile>("a file: { path, text }, both texts", {
  path: needed(anyText),
  text: needed(anyText),
  isLibrary: flag,
});

export const spanRule: Rule = members<Span>("a span: { file, start, end }", {
  file: needed(sourceFile),
  start: needed(whole(0)),
  end: needed(whole(0)),
});

const label: Rule = members<Diagnostic["labels"][number]>("a label", {
  span: needed(spanRule),
  text: needed(anyText),
});

export const diagnosticRule: Rule = members<Diagnostic>("a diagnostic, such as one of `MoeError.diagnostics`", {
  code: needed(anyText),
  severity: needed(oneOf("error", "warning")),
  message: needed(anyText),
  labels: needed(list(label, "a list of labels")),
  notes: needed(list(anyText, "a list of texts")),
  help: needed(orNull(anyText)),
});

/** Throws `option/unknown`, `option/missing` and `option/bad-value`, one at a time. `undefined` is as good as left out. */
export function checkOptions<O extends object>(call: string, given: O, rules: Rules<O>): void {
  const rows = rules as Readonly<Record<string, Rule & Partial<Needed>>>;
  if (typeof given !== "object" || given === null || Array.isArray(given))
    throw failure("option/bad-value", `\`${call}\` takes its options as one object, and is given ${describe(given)}`, {
      help: `give { ${Object.keys(rows).slice(0, 3).join(", ")}${Object.keys(rows).length > 3 ? ", ..." : ""} }`,
    });
  for (const name of Object.keys(given)) if (!Object.hasOwn(rows, name)) throw unknown(call, name, Object.keys(rows));
  for (const [name, rule] of Object.entries(rows))
    checkOption(call, name, (given as Record<string, unknown>)[name], rule);
}

/** The same for arguments that are not in one object, by their names. */
export function checkOption(call: string, name: string, value: unknown, rule: Rule & Partial<Needed>): void {
  if (value === undefined && rule.needed === true)
    throw failure("option/missing", `\`${call}\` needs \`${name}\`, and it is not given`, {
      help: `give ${rule.allowed}`,
    });
  if (value === undefined || rule.accepts(value)) return;
  throw failure("option/bad-value", `\`${name}\` of \`${call}\` is ${describe(value)}, and has to be ${rule.allowed}`, {
    help: `give ${rule.allowed}${rule.needed === true ? "" : ", or leave it out"}`,
  });
}

function unknown(call: string, name: string, names: readonly string[]): MoeError {
  const near = suggest(name.slice(0, LONGEST), names);
  return failure("option/unknown", `\`${call}\` has no option \`${name.slice(0, LONGEST)}\``, {
    notes: [names.length === 0 ? "it has none" : `it has ${names.join(", ")}`],
    help: near === null ? "leave it out, or write one of these" : `did you mean \`${near}\`?`,
  });
}

const LONGEST = 60;

/** A value on one line: enough to find it again. */
function describe(value: unknown): string {
  if (typeof value === "function") return "a function";
  if (typeof value === "bigint") return `${value}n`;
  if (typeof value === "symbol") return "a symbol";
  if (typeof value !== "object" || value === null) {
    const plain = typeof value === "string" ? JSON.stringify(value) : String(value);
    return plain.length > LONGEST ? `${plain.slice(0, LONGEST)}...` : plain;
  }
  if (Array.isArray(value)) {
    const at = value.slice(0, 4).map((v) => (typeof v === "object" && v !== null ? kindOf(v) : describe(v)));
    return `[${at.join(", ")}${value.length > 4 ? ", ..." : ""}]`;
  }
  return kindOf(value);
}

function kindOf(value: object): string {
  if (Array.isArray(value)) return "[...]";
  const name: unknown = Object.getPrototypeOf(value)?.constructor?.name;
  return typeof name === "string" && name !== "" && name !== "Object" ? `a ${name}` : "an object";
}
