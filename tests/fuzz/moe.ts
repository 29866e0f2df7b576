/**
 * `.moe` text: single declarations of the library, the examples and the tests, with what they need imported, so that one input takes a
 * millisecond. Formatted (twice is once), checked, and where it is right and has a `config`, compiled.
 */
import { globSync, readFileSync } from "node:fs";
import { checkModule, compileModel, makeConfigured, type Model, Workspace } from "../../compiler/index.ts";
import type { DeviceFacts } from "../../compiler/plan/plan.ts";
import { type Diagnostic, format, type SourceFile } from "../../grammar/index.ts";
import { parse } from "../../grammar/parse.ts";
import { openEmbedded } from "../../runtime/model/embedded.ts";
import { standardLibrary } from "../../runtime/load/modules.ts";
import { softwareFacts } from "../support/facts.ts";
import { type Bench, type Input, Nonsense } from "./kind.ts";
import { type Json, mutateJson } from "./mutate-json.ts";
import { mutateText, tokensOf } from "./mutate-text.ts";
import type { Random } from "./random.ts";
import { readGoldenPrograms } from "../support/golden-programs.ts";

/** A workspace keeps every file that it opened. */
const FILES_PER_WORKSPACE = 2000;

/** How many inputs are made from upcyclings, whose contracts are tried on small models: a hundred times the work of another declaration. */
const SLOW = 0.02;

/** How many are the text that weights carry of their own model. */
const EMBEDDED = 0.03;

/** Beyond this a model is right, and too large to be compiled a million times. */
const MOST_PARAMETERS = 1e9;

export async function openMoe(): Promise<Bench> {
  const units = listUnits();
  const isSlow = ({ text }: Input): boolean => /^upcycle /m.test(text);
  const [quick, slow] = [units.filter((unit) => !isSlow(unit)), units.filter(isSlow)];
  const tokens = units.map(({ text }) => tokensOf(text));
  let [workspace, opened] = [newWorkspace(), 0];
  return {
    make(random: Random): Input {
      if (random.chance(EMBEDDED)) return { at: "embedded", text: mutateJson(embedded, random, [embedded]) };
      const { at, text } = random.pick(random.chance(SLOW) ? slow : quick);
      return { at, text: mutateText(text, random, () => random.pick(tokens)) };
    },
    async run({ at, text }) {
      if (at === "embedded") {
        openEmbedded({ path: "checkpoint", metadata: { "moec.source": text } }, workspace);
        return [];
      }
      const file: SourceFile = { path: `input-${opened++}.moe`, text };
      if (opened % FILES_PER_WORKSPACE === 0) workspace = newWorkspace();
      checkFormat(file);
      const scope = workspace.open(file);
      const found = checkModule(scope);
      if (found.some((d) => d.severity === "error")) return found;
      for (const item of scope.module.items) if (item.kind === "config") checkPlan(makeConfigured(scope, item));
      return found;
    },
  };
}

/** A model and its map in two files, as the header of weights has them. */
const embedded: Json = {
  entry: "own.moe",
  map: "own",
  files: [
    {
      path: "own.moe",
      text: 'edition 2026\nimport { Own } from "./models/own.moe"\nmap own: Own {\n  config { "own" <-> model_type  V <-> vocab_size  D <-> hidden_size }\n  embed.w <-> "embed.weight" as [V, D]\n  head.w <-> "head.weight" as [V, D]\n}\n',
    },
    {
      path: "models/own.moe",
      text: 'edition 2026\nimport { Embedding, Linear } from "std"\nmodel Own(V, D) {\n  embed = Embedding(V -> D)\n  head = Linear(D -> V)\n  forward(ids: u32[T]) -> f32[T, V] = f32(head(embed(ids)))\n}\n',
    },
  ],
};

function newWorkspace(): Workspace {
  return new Workspace({ std: standardLibrary(), load: () => null });
}

function checkFormat(file: SourceFile): readonly Diagnostic[] {
  const once = format(file);
  if (once.diagnostics.some((d) => d.severity === "error")) return once.diagnostics;
  const twice = format({ path: file.path, text: once.text });
  if (twice.diagnostics.length > once.diagnostics.length) throw new Nonsense("formatting makes an error");
  if (twice.text !== once.text) throw new Nonsense("formatting twice is not formatting once");
  const meaning = (text: string): string => text.replaceAll(/\/\/[^\n]*|\s+/g, "");
  if (meaning(once.text) !== meaning(file.text)) throw new Nonsense("formatting changes more than spaces");
  return once.diagnostics;
}

/** Of a device that holds any model that is compiled here. */
const ROOMY: DeviceFacts = { ...softwareFacts, maxBinding: 2 ** 32, maxBuffer: 2 ** 33 };

/** Compiled, a model has sizes that are numbers, and every kernel what it reads. */
export function checkPlan(model: Model): void {
  const sizes = model.parameters.flatMap((p) => p.axes.map((axis) => axis.size));
  if (!sizes.every((size) => Number.isSafeInteger(size) && size > 0))
    throw new Nonsense("a parameter's size is no count");
  const all = model.parameters.map((p) => p.axes.reduce((product, axis) => product * axis.size, 1));
  if (all.reduce((a, b) => a + b, 0) > MOST_PARAMETERS) return;
  const plan = compileModel(model, { device: ROOMY, storage: () => "f32", verify: true });
  JSON.stringify(plan, (key, value: unknown) => {
    if (typeof value === "number" && !Number.isFinite(value) && key !== "value")
      throw new Nonsense(`the plan's \`${key}\` is ${value}`);
    return value;
  });
}

/** Each declaration by itself, behind an import of what it names. */
function listUnits(): readonly Input[] {
  const library = standardLibrary().flatMap(({ path, text }) => split({ path, text }));
  const own = globSync(["examples/*.moe", "tests/grammar/*.moe", "tests/fuzz/models/*.moe"]).sort();
  const wrong = readGoldenPrograms().map(({ path, text }) => ({ at: path, text }));
  const whole = [...own.map((path) => ({ at: path, text: readFileSync(path, "utf8") })), ...wrong].filter(
    ({ text }) => text.length < 3000,
  );
  return [...library, ...whole];
}

const exported = new Set(
  standardLibrary().flatMap(({ text }) =>
    [...text.matchAll(/^(?:layer|router|model|map|upcycle|config)[ \t]+([A-Za-z_]\w*)/gm)].map(([, name]) => name!),
  ),
);

function split(file: SourceFile): readonly Input[] {
  const { module } = parse(file);
  return module.items.map((item) => {
    const text = file.text.slice(item.span.start, item.span.end);
    const name = "name" in item ? item.name?.text : undefined;
    const used = [...new Set(text.match(/[A-Za-z_]\w*/g))].filter((word) => exported.has(word) && word !== name).sort();
    const imports = used.length === 0 ? "" : `import { ${used.join(", ")} } from "std"\n`;
    return { at: `${file.path}#${name ?? item.kind}`, text: `edition 2026\n${imports}\n${text}\n` };
  });
}
