/**
 * Parameter paths inside functions. A function serves every layer of its kind: its parameters say `blocks[#].attn.q.w`,
 * and a call under `blocks[3]` reads `blocks[3].attn.q.w`.
 */

/**
 * A path as seen from a call: each `#` becomes the call's index. Nested calls have several; the last index of the call's
 * path belongs to the last `#`.
 */
export function bindPath(path: string, callPath: string): string {
  const indices = [...callPath.matchAll(/\[([^\]]*)\]/g)].map((m) => m[1] ?? "");
  const holes = path.split("#").length - 1;
  if (holes > indices.length) throw new Error(`${callPath} gives ${indices.length} of the ${holes} indices of ${path}`);
  let next = indices.length - holes;
  return path.replaceAll("#", () => indices[next++] ?? "");
}
