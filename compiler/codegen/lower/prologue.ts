/**
 * Values that templates ask for in the middle of their loops, as functions of the module: the template gets a plain call
 * and the function may be as long as the value needs.
 */
import type { Node } from "../../graph/node.ts";
import type { KernelWriter } from "../kernel/writer.ts";
import { Emitter } from "./emit.ts";
import type { Index, Run } from "./indexing.ts";
import type { Memory } from "./place.ts";
import { typeText } from "./text.ts";

/** A call of `name(arguments)` that gives the node at an index made of the parameters. */
export function callValue(
  w: KernelWriter,
  memory: Memory,
  name: string,
  node: Node,
  parameters: readonly string[],
  indexOf: (e: Emitter) => Index,
  run: Run,
  callArguments: readonly string[],
): string {
  const fn = run === null ? name : `${name}4`;
  const e = new Emitter(w, memory);
  const value = e.value(node, indexOf(e), run);
  const body = e.flush();
  w.global(
    fn,
    `fn ${fn}(${parameters.map((p) => `${p}: u32`).join(", ")}) -> ${typeText(node.type.dtype, run)} {\n${body}\n  return ${value};\n}`,
  );
  return `${fn}(${callArguments.join(", ")})`;
}
