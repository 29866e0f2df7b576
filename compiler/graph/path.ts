/**
 * Parameter paths inside functions. A function serves every layer of its kind: its parameters say `blocks[#].attn.q.w`,
 * and a call under `blocks[3]` reads `blocks[3].attn.q.w`. Where the layers of a stack are of several kinds, those that
 * are not like its first say which layer of their kind comes first: `blocks[#4].attn.q.w`.
 */

/**
 * A path as seen from a call: each hole becomes the call's index. Nested calls have several; the last index of the call's
 * path belongs to the last hole.
 */
export function bindPath(path: string, callPath: string): string {
  const indices = [...callPath.matchAll(/\[([^\]]*)\]/g)].map((m) => m[1] ?? "");
  const holes = path.split("#").length - 1;
  if (holes > indices.length) throw new Error(`${callPath} gives ${indices.length} of the ${holes} indices of ${path}`);
  let next = indices.length - holes;
  return path.replaceAll(HOLE, () => indices[next++] ?? "");
}

/** The template path of the layers of a stack whose first is `first`. */
export function templatePath(stack: string, first: number): string {
  return `${stack}[#${first === 0 ? "" : first}]`;
}

/** True of the path of a template itself, not of what is in it. */
export function isTemplate(path: string): boolean {
  return /\[#\d*\]$/.test(path);
}

/** The path of layer `index`, given its template's. */
export function layerPath(template: string, index: number): string {
  return template.replace(/#\d*(?=\]$)/, String(index));
}

/** The template of the layer at this path, where its stack has one kind of layers. */
export function templateOfLayer(path: string): string {
  return path.replace(/\[\d+\]$/, "[#]");
}

/** A path with plain holes for all its numbers: that of every layer like it. */
export function withHoles(path: string): string {
  return plainPath(path).replaceAll(/\[\d+\]/g, "[#]");
}

/** A path with a variable for each of its numbers, as a rule for all such layers has it: `blocks[l].w`. */
export function withVariables(path: string): string {
  let next = 0;
  return path.replaceAll(/\[\d+\]/g, () => `[${VARIABLES[Math.min(next++, VARIABLES.length - 1)]}]`);
}

const VARIABLES = ["l", "m", "n", "i", "j", "k"] as const;

/** A path from the innermost template on that it leads through; the whole where there is none. */
export function insideTemplate(path: string): string {
  return path.replace(/^.*\[#\d*\]\.?/, "");
}

/** What the paths of all layers of a stack begin with, given the template of one. */
export function stackOfTemplate(template: string): string {
  return template.replace(/#\d*\]$/, "");
}

/** The path with the holes filled whose template is in `layers`. */
export function fillPath(path: string, layers: ReadonlyMap<string, number>): string {
  return path.replaceAll(HOLE, (hole: string, at: number) => {
    const index = layers.get(path.slice(0, at + hole.length + 1));
    return index === undefined ? hole : String(index);
  });
}

/** The path with plain holes, as plans have it: there a step runs for its own layers only. */
export function plainPath(path: string): string {
  return path.replaceAll(HOLE, "#");
}

/** The output that is the state of this path after an optimizer step. */
export function nameOfUpdate(path: string): string {
  return `${AFTER}${path}`;
}

/** The path of the state that the `update` of this name is of. */
export function stateOfUpdate(name: string): string {
  if (!name.startsWith(AFTER)) throw new Error(`${name} is not an update's name`);
  return name.slice(AFTER.length);
}

const AFTER = "after.";

const HOLE = /#\d*/g;
