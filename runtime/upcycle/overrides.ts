/** Tensors given on the side: `PATH=FILE.safetensors#TENSOR`, opened as sources of their own. */
import type { Override } from "../../compiler/index.ts";
import { failure } from "../../grammar/diagnostic.ts";
import type { Span } from "../../grammar/span.ts";
import { suggest } from "../../grammar/suggest.ts";
import type { Checkpoint } from "../checkpoint/store.ts";
import { openCheckpoint } from "../load/open-checkpoint.ts";
import { parameterSource } from "../model/parameter-source.ts";
import type { ParameterSource } from "../gpu/parameters.ts";

export interface OpenedOverrides {
  readonly overrides: readonly Override[];
  /** One per override; its tensor is its only parameter. */
  readonly sources: readonly ParameterSource[];
  /** Their files, likewise. */
  readonly checkpoints: readonly Checkpoint[];
  close(): Promise<void>;
}

/** `first` is the number of the first source. Throws `upcycle/bad-set`, `upcycle/no-tensor`, and what `openCheckpoint` throws. */
export async function openOverrides(texts: readonly string[], first: number): Promise<OpenedOverrides> {
  const files: Checkpoint[] = [];
  const close = async (): Promise<void> => {
    await Promise.all(files.map((file) => file.close()));
  };
  try {
    const overrides: Override[] = [];
    const sources: ParameterSource[] = [];
    for (const [i, text] of texts.entries()) {
      const { path, file, tensor } = readOption(text);
      const opened = await openCheckpoint(file);
      files.push(opened);
      const { shape } = findTensor(opened, tensor);
      const strides = shape.map((_, axis) => shape.slice(axis + 1).reduce((a, b) => a * b, 1));
      const piece = { path: tensor.text, target: 0, sizes: shape, source: 0, strides };
      overrides.push({ path, source: first + i, tensor: tensor.text, shape });
      sources.push(
        parameterSource(opened, [{ tensor: tensor.text, shape, stored: null, pieces: [piece], span: path }]),
      );
    }
    return { overrides, sources, checkpoints: files, close };
  } catch (error) {
    await close();
    throw error;
  }
}

interface Option {
  readonly path: Span;
  readonly file: string;
  readonly tensor: { readonly text: string; readonly span: Span };
}

function readOption(text: string): Option {
  const span = (start: number, end: number): Span => ({ file: { path: "--set", text }, start, end });
  const match = /^([^=]+)=(.+)#([^#]+)$/.exec(text);
  if (match === null)
    throw failure("upcycle/bad-set", "this does not say which tensor of which file becomes which parameter", {
      labels: [{ span: span(0, text.length), text: "" }],
      help: "write PATH=FILE.safetensors#TENSOR",
    });
  const [path, file, tensor] = match.slice(1) as [string, string, string];
  const at = text.length - tensor.length;
  return { path: span(0, path.length), file, tensor: { text: tensor, span: span(at, text.length) } };
}

function findTensor(
  { path, tensors }: Checkpoint,
  { text, span }: Option["tensor"],
): { readonly shape: readonly number[] } {
  const found = tensors.get(text);
  if (found !== undefined) return found;
  const names = [...tensors.keys()];
  const near = suggest(text, names);
  const all = `it has ${names.slice(0, 6).join(", ")}${names.length > 6 ? ", ..." : ""}`;
  throw failure("upcycle/no-tensor", `${path} has no tensor \`${text}\``, {
    labels: [{ span, text: "not in this file" }],
    help: near === null ? all : `did you mean \`${near}\`?`,
  });
}
