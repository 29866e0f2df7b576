/**
 * Names of tensors as other programs save them: behind the name of what a model was wrapped in, without the name that its class
 * puts in front, or within a model of several senses. Where just one way to read them fits a map's names they are read so; a
 * checkpoint is then seen as if it had the map's.
 */
import { type Diagnostic, failure } from "../../grammar/diagnostic.ts";
import type { Checkpoint, StoredTensor } from "../checkpoint/store.ts";

/** Parts of names that wrappers put between others; they hold nothing themselves. */
const WRAPPERS = /(?:^|(?<=\.))(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\./g;

export interface Renamed {
  readonly checkpoint: Checkpoint;
  readonly notes: readonly Diagnostic[];
}

/**
 * The checkpoint under the names that are needed, or may be there (`ignored`), as far as it has them. Of a part of a model (`isPart`) other parts are left out.
 * Throws `checkpoint/prefix` where several ways fit.
 */
export function renameTensors(
  checkpoint: Checkpoint,
  needed: readonly string[],
  ignored: (name: string) => boolean,
  isPart: boolean,
): Renamed {
  const plain = unwrap(checkpoint);
  const groups = groupNames(needed).flatMap((group): readonly Found[] => {
    const prefix = choosePrefix(checkpoint.path, plain, group);
    return prefix === null ? [] : [{ ...group, prefix }];
  });
  const singles = needed.filter((name) => !name.includes(".") || groups.every((g) => !name.startsWith(g.root)));
  const outer = outerOf(groups);
  const heads = new Map(
    singles.flatMap((name) => {
      const stored = chooseStored(checkpoint.path, plain, name, outer);
      return stored === null ? [] : [[stored, name] as const];
    }),
  );
  const tensors = new Map<string, StoredTensor>();
  const outside: string[] = [];
  for (const [name, tensor] of plain) {
    const group = groups.find((g) => name.startsWith(g.prefix) && g.segments.has(segmentOf(name, g.prefix)));
    const bare = name.startsWith(outer) ? name.slice(outer.length) : name;
    const to = heads.get(name) ?? (group === undefined ? bare : group.root + name.slice(group.prefix.length));
    if (isPart && group === undefined && !heads.has(name) && !ignored(bare)) outside.push(name);
    else if (tensors.has(to)) return { checkpoint, notes: [] };
    else tensors.set(to, tensor);
  }
  const changed = groups.filter((g) => g.prefix !== g.root).map((g) => ({ from: g.prefix, to: g.root }));
  const notes = [...tellPrefix(checkpoint, changed, plain), ...tellOutside(checkpoint, outside)];
  return { checkpoint: viewOf(checkpoint, tensors), notes };
}

/** Names that begin alike in a map. */
interface Group {
  /** `model.`: what they begin with. */
  readonly root: string;
  /** All behind the root. */
  readonly rests: readonly string[];
  /** What comes next in any of them: `layers`. */
  readonly segments: ReadonlySet<string>;
}

interface Found extends Group {
  /** What the checkpoint has in place of the root. */
  readonly prefix: string;
}

/** Groups of more than one name; a head stands alone. */
function groupNames(needed: readonly string[]): readonly Group[] {
  const byRoot = Map.groupBy(needed, (name) => name.slice(0, name.indexOf(".") + 1));
  return [...byRoot].flatMap(([root, names]): readonly Group[] => {
    const rests = names.map((name) => name.slice(root.length));
    const segments = new Set(rests.map((rest) => segmentOf(rest, "")));
    return root === "" || segments.size < 2 ? [] : [{ root, rests, segments }];
  });
}

const segmentOf = (name: string, prefix: string): string => {
  const end = name.indexOf(".", prefix.length);
  return name.slice(prefix.length, end < 0 ? name.length : end);
};

/** Names that are looked for before all: enough to tell a text part from others that are built alike. */
const ANCHORS = 16;

/** The one thing that stands in front of the most of a group's names; null where none of them is found. */
function choosePrefix(path: string, stored: ReadonlyMap<string, StoredTensor>, { root, rests }: Group): string | null {
  const step = Math.max(1, Math.floor(rests.length / ANCHORS));
  const anchors = rests.filter((_, i) => i % step === 0 || i === rests.length - 1);
  const found = new Map<string, number>();
  for (const name of stored.keys()) {
    for (const anchor of anchors) {
      const prefix = prefixOf(name, anchor);
      if (prefix !== null) found.set(prefix, (found.get(prefix) ?? 0) + 1);
    }
  }
  const most = Math.max(0, ...found.values());
  const best = [...found].flatMap(([prefix, count]) => (count === most ? [prefix] : []));
  if (best.includes(root) && most === anchors.length) return root;
  if (best.length > 1)
    throw ambiguous(
      path,
      best.map((prefix) => `${prefix}${rests[0]!}`),
      best,
    );
  return best[0] ?? null;
}

function prefixOf(name: string, rest: string): string | null {
  if (!name.endsWith(rest)) return null;
  const prefix = name.slice(0, name.length - rest.length);
  return prefix === "" || prefix.endsWith(".") ? prefix : null;
}

/** What is in front of the groups' own roots, and so in front of a head as well. */
function outerOf(groups: readonly Found[]): string {
  const [first] = groups;
  if (first === undefined) return "";
  return first.prefix.endsWith(first.root) ? first.prefix.slice(0, first.prefix.length - first.root.length) : "";
}

/** The tensor that is a head's; null where there is none. */
function chooseStored(
  path: string,
  stored: ReadonlyMap<string, StoredTensor>,
  name: string,
  outer: string,
): string | null {
  const wanted = [outer + name, name].find((one) => stored.has(one));
  if (wanted !== undefined) return wanted;
  const others = [...stored.keys()].filter((one) => one.endsWith(`.${name}`));
  if (others.length > 1)
    throw ambiguous(
      path,
      others,
      others.map((one) => one.slice(0, -name.length)),
    );
  return others[0] ?? null;
}

/** Without the parts of names that wrappers add, where nothing else has the name then. */
function unwrap({ tensors }: Checkpoint): ReadonlyMap<string, StoredTensor> {
  const plain = new Map([...tensors].map(([name, tensor]) => [name.replace(WRAPPERS, ""), tensor]));
  return plain.size === tensors.size ? plain : tensors;
}

function viewOf(checkpoint: Checkpoint, tensors: ReadonlyMap<string, StoredTensor>): Checkpoint {
  const stored = (name: string): string => tensors.get(name)?.name ?? name;
  return {
    ...checkpoint,
    tensors,
    readTensor: (name) => checkpoint.readTensor(stored(name)),
    readSlice: (name, ...range) => checkpoint.readSlice(stored(name), ...range),
    toFloat32: (name) => checkpoint.toFloat32(stored(name)),
  };
}

function tellPrefix(
  checkpoint: Checkpoint,
  changed: readonly { readonly from: string; readonly to: string }[],
  plain: ReadonlyMap<string, StoredTensor>,
): readonly Diagnostic[] {
  const unwrapped = plain !== checkpoint.tensors && [...plain].some(([name, tensor]) => name !== tensor.name);
  const ways = [
    ...changed.map(({ from, to }) =>
      from === "" ? `as if \`${to}\` stood in front` : `with \`${to}\` for \`${from}\``,
    ),
    ...(unwrapped ? ["without the names of what the model was wrapped in"] : []),
  ];
  if (ways.length === 0) return [];
  return [warning("checkpoint/renamed", `the names of tensors in ${checkpoint.path} are read ${ways.join(", and ")}`)];
}

function tellOutside(checkpoint: Checkpoint, names: readonly string[]): readonly Diagnostic[] {
  if (names.length === 0) return [];
  const parts = [...Map.groupBy(names, (name) => partOf(name))].map(([part, list]) => `\`${part}\` (${list.length})`);
  return [
    warning(
      "checkpoint/left-out",
      `only what ${checkpoint.path} has about text is read: without the tensors of ${parts.join(", ")}`,
    ),
  ];
}

/** `model.vision_tower` of `model.vision_tower.layers.0.w`. */
const partOf = (name: string): string => /^(?:model\.)?[^.]+/.exec(name)?.[0] ?? name;

function warning(code: string, message: string): Diagnostic {
  return { code, severity: "warning", message, labels: [], notes: [], help: null };
}

function ambiguous(path: string, examples: readonly string[], prefixes: readonly string[]): Error {
  const named = prefixes.map((prefix) => (prefix === "" ? "nothing" : `\`${prefix}\``));
  return failure(
    "checkpoint/prefix",
    `${path} has tensors of several models: they begin with ${named.join(", with ")}`,
    {
      notes: [`such as ${examples.slice(0, 4).join(", ")}`],
      help: "keep those of one model in a checkpoint of their own",
    },
  );
}
