/** What a command works on: a checkpoint's folder, or a `config` of a `.moe` file. */
import type { Model, Workspace } from "../compiler/index.ts";
import { makeConfigured } from "../compiler/index.ts";
import type { ElementType } from "../runtime/checkpoint/element-type.ts";
import { failure, suggest } from "../grammar/index.ts";
import { isFolder } from "../runtime/files/read.ts";
import { openChecked, openWorkspace } from "../runtime/load/modules.ts";
import { openFolder } from "./load.ts";

export interface SubjectOptions {
  /** Which `config` of a file. */
  readonly config?: string;
  /** A `.moe` file with maps that are tried before those of the standard library. */
  readonly map?: string;
}

export interface Subject {
  readonly name: string;
  readonly model: Model;
  /** How a parameter is kept, by its path. */
  readonly storage: (path: string) => ElementType;
  readonly close: () => Promise<void>;
}

/** Opens either; weights are not read. */
export async function openSubject(path: string, options: SubjectOptions): Promise<Subject> {
  if (!path.endsWith(".moe") || isFolder(path)) {
    const { model, checkpoint, source } = await openFolder(path, options.map);
    return { name: path, model, storage: source.storage, close: () => checkpoint.close() };
  }
  const model = configuredModel(openWorkspace(), path, options.config);
  return { name: path, model, storage: () => "f32", close: async () => undefined };
}

/** The model of a `config` of a file; `name` may be left out where there is but one. Throws `cli/no-config`. */
export function configuredModel(workspace: Workspace, path: string, name: string | undefined): Model {
  const scope = openChecked(workspace, path);
  const configs = scope.module.items.filter((item) => item.kind === "config");
  const names = configs.map((c) => c.name.text);
  const [first] = configs;
  if (first === undefined)
    throw failure("cli/no-config", `${path} declares no config, so its models have no sizes`, {
      help: "add `config small: Model { V: 2048 ... }`",
    });
  if (name === undefined && configs.length > 1)
    throw failure("cli/no-config", `${path} declares ${configs.length} configs`, {
      help: `choose one: --config ${names.join(", --config ")}`,
    });
  const config = name === undefined ? first : configs.find((c) => c.name.text === name);
  if (config !== undefined) return makeConfigured(scope, config);
  const near = suggest(name ?? "", names);
  throw failure("cli/no-config", `${path} has no config \`${name}\``, {
    help: near === null ? `it has ${names.join(", ")}` : `did you mean \`${near}\`?`,
  });
}
