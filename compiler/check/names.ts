/** Names that would hide what types and brackets read: time, sequences, and the axes of a declaration itself. */
import type { Item, LayerDecl, Name, Port } from "../../grammar/ast.ts";
import type { DiagnosticBag } from "../../grammar/diagnostic.ts";
import { TIME } from "../graph/type.ts";

export function checkNames(bag: DiagnosticBag, item: Item): void {
  switch (item.kind) {
    case "dim":
      checkPools(bag, [item.name]);
      return checkTime(bag, [item.name]);
    case "fn": {
      checkPools(bag, item.axes);
      checkTime(bag, [...item.axes, ...item.params.map((p) => p.name)]);
      return checkDistinct(bag, item.axes, item.params);
    }
    case "layer": {
      checkPools(
        bag,
        item.params.filter((p) => p.default === null && p.type === null).map((p) => p.name),
      );
      checkTime(bag, [
        ...item.params.map((p) => p.name),
        ...item.members.map((m) => m.name),
        ...(item.forward?.params ?? []).map((p) => p.name),
      ]);
      checkGiven(bag, item);
      return checkDistinct(
        bag,
        item.params.map((p) => p.name),
        item.forward?.params ?? [],
      );
    }
    case "config":
    case "map":
    case "mixture":
    case "upcycle":
    case "test":
      return;
    default:
      item satisfies never;
  }
}

/** What a step is given beside a program's own inputs, by name. */
const STEP = ["position", "slot", "length", "wanted", "runs"];

/** What scoring and training a model adds to its inputs, and what it gives. */
const MODEL = ["target", "counted", "logits", "nll"];

/** Inputs that would lie in one buffer with what a step is given: those of models, and of layers that are tested by themselves. */
function checkGiven(bag: DiagnosticBag, { keyword, forward }: LayerDecl): void {
  const taken = keyword === "model" ? [...STEP, ...MODEL] : STEP;
  const name = forward?.params.map((p) => p.name).find((n) => taken.includes(n.text));
  if (name !== undefined)
    bag.error(
      "name/taken",
      `\`${name.text}\` is what every step is given or gives, and cannot name an input`,
      [{ span: name.span, text: "named here" }],
      `choose another name, such as \`own_${name.text}\``,
    );
}

function checkTime(bag: DiagnosticBag, names: readonly Name[]): void {
  const name = names.find((n) => n.text === TIME);
  if (name !== undefined)
    bag.error(
      "name/taken",
      `\`${TIME}\` is the time axis and cannot name anything else`,
      [{ span: name.span, text: "named here" }],
      `choose another name; \`[${TIME}, D]\` needs no declaration of \`${TIME}\``,
    );
}

/** Sizes called `batch` or `global`: a batched program has axes of these names. */
function checkPools(bag: DiagnosticBag, names: readonly Name[]): void {
  const name = names.find((n) => n.text === "batch" || n.text === "global");
  if (name !== undefined)
    bag.error(
      "name/taken",
      `\`${name.text}\` stands for sequences and cannot name an axis`,
      [{ span: name.span, text: "named here" }],
      "choose another name",
    );
}

function checkDistinct(bag: DiagnosticBag, axes: readonly Name[], ports: readonly Port[]): void {
  const seen = new Map(axes.map((a): [string, Name] => [a.text, a]));
  for (const { name } of ports) {
    const first = seen.get(name.text);
    if (first !== undefined)
      bag.error(
        "name/duplicate",
        `\`${name.text}\` is declared twice`,
        [
          { span: name.span, text: "declared again here" },
          { span: first.span, text: "first declared here" },
        ],
        "rename one of them",
      );
    seen.set(name.text, name);
  }
}
