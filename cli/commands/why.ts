/** `moec why`: where the weights of a checkpoint come from, parameter by parameter, as it was noted when they were written. */
import type { Command } from "commander";
import { failure } from "../../grammar/index.ts";
import type { PartRecord, PlaceRecord, Provenance, TermRecord } from "../../runtime/upcycle/provenance.ts";
import { readProvenance, type Trace, traceOrigin } from "../../runtime/upcycle/why.ts";
import { humanBytes, paint, plural, print, printJson } from "../output.ts";

interface Options {
  readonly map?: string;
  readonly json?: true;
}

export function registerWhy(program: Command): void {
  program
    .command("why")
    .description("show where a parameter of a checkpoint comes from: its rule, sources, byte ranges and hash")
    .argument("<checkpoint>", "folder that `moec upcycle` or `moec export` wrote")
    .argument("<path>", "path in the model, such as blocks[3].ffn.experts[1].up.w, or the name of a tensor")
    .option("--map <file>", "a .moe file with the map of the checkpoint's family")
    .option("--json", "print what was noted as JSON")
    .addHelpText("after", "\nExample:\n  moec why mixture 'blocks[3].ffn.experts[1].up.w'")
    .action(runWhy);
}

/** More tensors than this are counted. */
const MOST_SHOWN = 12;

async function runWhy(folder: string, path: string, options: Options): Promise<void> {
  const provenance = await readProvenance(folder);
  const traces = await traceOrigin(folder, provenance, path, options.map);
  if (traces.length === 0)
    throw failure("checkpoint/no-provenance", `nothing was noted about \`${path}\``, {
      help: "was the checkpoint changed since moec wrote it?",
    });
  if (options.json)
    return printJson({ checkpoint: folder, path, tensors: traces.map((t) => traceJson(t, provenance)) });
  print(
    traces
      .slice(0, MOST_SHOWN)
      .map((t) => describeTrace(t, provenance))
      .join("\n\n"),
  );
  if (traces.length > MOST_SHOWN)
    print(`\nand ${plural(traces.length - MOST_SHOWN, "more tensor")} (--json lists all)`);
}

function describeTrace({ tensor, record, parts }: Trace, provenance: Provenance): string {
  const { dtype, shape, file, bytes, sha256 } = record;
  return [
    paint.bold(tensor),
    `  stored   ${dtype} [${shape.join(", ")}] in ${file}, ${describeBytes(bytes)}`,
    `  sha256   ${sha256}`,
    ...parts.flatMap((part) => describePart(part, record.parts.length > 1, provenance)),
  ].join("\n");
}

function describePart(part: PartRecord, isOneOfMany: boolean, provenance: Provenance): readonly string[] {
  const { parameter, start, length, copy, terms } = part;
  const rule = provenance.rules[part.rule]!;
  const elements = isOneOfMany || start > 0 ? `, elements ${start} to ${start + length}` : "";
  const from = terms.flatMap((term) => describeTerm(term, terms.length, provenance));
  const how = copy
    ? "copied, byte for byte, from"
    : terms.length === 0
      ? "zeros"
      : terms.length > 1
        ? "the sum of"
        : "";
  return [
    `  is       ${parameter}${elements}`,
    `  by       ${rule.text}   (${rule.file}:${rule.line})`,
    ...(how === "" ? [] : [`  ${how}`]),
    ...from.map((line) => `    ${line}`),
  ];
}

function describeTerm(term: TermRecord, count: number, provenance: Provenance): readonly string[] {
  const weight = weightText(term, count);
  const { sources, prompts } = provenance;
  if ("fresh" in term) return [`${weight}${term.fresh}`];
  if ("made" in term) {
    const inner = term.of.flatMap((t) => describeTerm(t, term.of.length, provenance));
    return [`${weight}\`${term.made}\` of`, ...inner.map((line) => `  ${line}`)];
  }
  const source = sources[term.source]!;
  if ("given" in term)
    return [
      `${weight}input(${source.name}.${term.given}), which ${source.path} was run for; sha256 ${term.sha256}`,
      ...term.rows.flat().map(({ prompt, tokens, weight: of }) => {
        const { text, ids } = prompts[prompt]!;
        return `  ${Number(of.toPrecision(6))} * ${plural(tokens.length, "token")} of ${JSON.stringify(text ?? ids)}`;
      }),
    ];
  return [
    `${weight}${source.name}.${term.parameter}, of ${source.path}`,
    ...term.from.map((place) => `  ${describePlace(place)}`),
  ];
}

function weightText({ weight }: TermRecord, count: number): string {
  return weight === 1 && count === 1 ? "" : `${Number(weight.toPrecision(6))} * `;
}

function describePlace({ tensor, file, bytes, whole }: PlaceRecord): string {
  return `${tensor} in ${file}, ${whole ? "" : "parts of "}${describeBytes(bytes)}`;
}

function describeBytes([start, end]: readonly [number, number]): string {
  return `bytes ${start} to ${end} (${humanBytes(end - start)})`;
}

/** With rules, sources and prompts in place of their numbers. */
function traceJson({ tensor, record, parts }: Trace, provenance: Provenance): object {
  return {
    tensor,
    ...record,
    parts: parts.map((part) => ({
      ...part,
      rule: provenance.rules[part.rule],
      terms: part.terms.map((term) => withSources(term, provenance)),
    })),
  };
}

function withSources(term: TermRecord, provenance: Provenance): object {
  if ("fresh" in term) return term;
  if ("made" in term) return { ...term, of: term.of.map((t) => withSources(t, provenance)) };
  const source = provenance.sources[term.source];
  if (!("given" in term)) return { ...term, source };
  const rows = term.rows.map((row) => row.map((part) => ({ ...part, prompt: provenance.prompts[part.prompt] })));
  return { ...term, source, rows };
}
