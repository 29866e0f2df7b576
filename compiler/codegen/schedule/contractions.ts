/**
 * Contraction kernels: a routed down projection sums its token's choices, two contractions that a map joins multiply at the
 * same column, contractions of one activation lie side by side as column groups.
 */
import type { Node } from "../../graph/node.ts";
import { isOp } from "../../graph/node.ts";
import { hasAxis } from "../../graph/type.ts";
import { sameBytes } from "./bytes.ts";
import { joinEpilogue } from "./grow.ts";
import { type ContractionKernel, inBuffer } from "./kernel.ts";
import type { Matrix } from "../../graph/matrix.ts";
import type { Scheduling } from "./scheduling.ts";

export function addContraction(s: Scheduling, dot: Node, matrix: Matrix): void {
  const whole = s.partsOf(matrix.param.attrs.path) === 1;
  const combine = s.regime === "decode" && whole ? matchCombine(s, matrix) : null;
  const first = combine?.sum ?? dot;
  const kernel = s.clusters.add<ContractionKernel>({
    kind: "contraction",
    computes: [dot, ...(combine?.between ?? [])],
    stores: [],
    a: matrix.a,
    groups: [{ matrices: [matrix], root: first }],
    combine: combine === null ? null : { sum: combine.sum, scales: combine.scales },
  });
  const group = kernel.groups[0]!;
  // Parts along banks leave whole columns, so that two weights cut alike can still be multiplied together.
  if (combine === null && (whole || matrix.bank.length > 0)) pairUp(s, kernel, matrix);
  if (group.matrices.length === 1) group.root = joinEpilogue(s, kernel, [first]) ?? first;
  s.clusters.store(kernel, inBuffer(group.root));
  if (combine === null && whole && !s.cuts.apart.has(dot)) lieBeside(s, kernel);
}

/** Two contractions of the same activation and shape whose results meet in maps before anything else reads them. */
function pairUp(s: Scheduling, kernel: ContractionKernel, matrix: Matrix): void {
  for (const other of candidates(s)) {
    if (
      other.dot === matrix.dot ||
      !s.uses.isFree(other.dot) ||
      !sameActivation(matrix, other) ||
      !sameColumns(matrix, other)
    )
      continue;
    if (s.partsOf(other.param.attrs.path) !== s.partsOf(matrix.param.attrs.path)) continue;
    const root = joinEpilogue(s, kernel, [matrix.dot, other.dot], [matrix.dot]);
    if (root === null) continue;
    kernel.groups[0]!.matrices.push(other);
    kernel.groups[0]!.root = root;
    return;
  }
}

/** Puts the kernel's groups into an earlier kernel over the same activation. */
function lieBeside(s: Scheduling, kernel: ContractionKernel): void {
  const own = kernel.groups[0]!.matrices[0]!;
  for (const other of s.clusters.kernels) {
    if (other === kernel || other.kind !== "contraction" || other.combine !== null) continue;
    const first = other.groups[0]!.matrices[0]!;
    if (!sameActivation(first, own) || s.partsOf(first.param.attrs.path) !== 1) continue;
    if (!s.clusters.merge(other, kernel)) continue;
    other.groups.push(...kernel.groups);
    return;
  }
}

function candidates(s: Scheduling): readonly Matrix[] {
  return [...s.roles.values()].flatMap((role) => (role.kind === "matrix" ? [role.matrix] : []));
}

/** The same rows of the same bytes, contracted in the same order, routed by the same index. */
function sameActivation(a: Matrix, b: Matrix): boolean {
  const sizes = (m: Matrix): string =>
    m.kLabels.map((name) => m.a.type.axes.find((x) => x.name === name)?.size.key).join();
  const places = (m: Matrix): string => m.a.type.axes.map((x) => m.kLabels.indexOf(x.name)).join();
  return (
    a.index === b.index &&
    sameBytes(a.a, b.a) &&
    sizes(a) === sizes(b) &&
    places(a) === places(b) &&
    a.rowLabels.join() === b.rowLabels.join()
  );
}

function sameColumns(a: Matrix, b: Matrix): boolean {
  const columns = (m: Matrix): string =>
    m.nLabels.map((name) => `${name}=${m.dot.type.axes.find((x) => x.name === name)?.size.key}`).join();
  return columns(a) === columns(b);
}

interface Combine {
  readonly sum: Node<"sum">;
  readonly scales: readonly Node[];
  /** Nodes between the contraction and the sum, and the sum. */
  readonly between: readonly Node[];
}

/** sum[K](dot * weight), where the weight is one number per choice: the choices of a token are added as they are computed. */
function matchCombine(s: Scheduling, matrix: Matrix): Combine | null {
  const { index } = matrix;
  const choices = index?.type.axes.at(-1);
  if (index === null || choices === undefined) return null;
  const [scales, between]: [Node[], Node[]] = [[], []];
  for (let node = matrix.dot; ;) {
    const [user, ...more] = s.uses.users.get(node) ?? [];
    if (user === undefined || more.length > 0 || s.uses.required.has(node)) return null;
    between.push(user);
    if (isOp(user, "sum")) return user.attrs.axes.join() === choices.name ? { sum: user, scales, between } : null;
    if (!isOp(user, "mul") || user.inputs[0] === user.inputs[1]) return null;
    const scale = user.inputs.find((x) => x !== node)!;
    if (!scale.type.axes.every((a) => hasAxis(index.type, a.name))) return null;
    scales.push(scale);
    node = user;
  }
}
