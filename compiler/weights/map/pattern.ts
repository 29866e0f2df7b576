/** Names of tensors in maps: `model.layers.{l}`, with index variables in braces, and the patterns of what a map disregards. */

export function join(a: string, b: string): string {
  return a === "" || b === "" ? a + b : `${a}.${b}`;
}

export function substitute(pattern: string, indices: ReadonlyMap<string, number>): string {
  return pattern.replace(/\{(\w+)\}/g, (whole, name: string) => String(indices.get(name) ?? whole));
}

/** `*` and `{x}` are anything without a point, `**` is anything. */
export function patternOf(text: string): RegExp {
  const runs = text.split("**").map((run) =>
    run
      .split(/\{\w+\}|\*/)
      .map((s) => s.replace(/[.[\]()+?^$|\\]/g, "\\$&"))
      .join("[^.]+"),
  );
  return new RegExp(`^${runs.join(".+")}$`);
}
