/**
 * The norm of all gradients of an optimizer step, and what follows from it. Each gradient adds its squares to the same partial sums, a
 * workgroup to each, in the order of the dispatches, so that the sum has one order in every run; one invocation then adds those up. Squares
 * that pass what f32 holds count as not finite. Pascanu et al. (2013), arXiv 1211.5063, with the 1e-6 of torch's `clip_grad_norm_`.
 */
import type { Binding } from "../../plan/plan.ts";
import type { EmittedKernel } from "./contraction/contraction.ts";
import { tuning } from "./tuning.ts";
import { KernelWriter } from "./writer.ts";

/** Workgroups of a sum, and so partial sums. */
export const NORM_GROUPS = tuning.norm.workgroups;

const { invocations: LANES } = tuning.norm;

/** Adds the squares of f32 [4 * quads] to f32 [NORM_GROUPS]; a workgroup for each partial sum. */
export function emitNormSum(quads: number, gradient: Binding, partial: Binding): EmittedKernel {
  const w = new KernelWriter();
  const from = w.bind(gradient, "array<vec4<f32>>", "read");
  const to = w.bind(partial, "array<f32>", "write");
  const count = w.constant("quads", quads);
  w.global("sums", `var<workgroup> sums: array<f32, ${LANES}>;`);
  const body = `var sum = 0f;
for (var i = group * ${LANES}u + lane; i < ${count}; i += ${LANES * NORM_GROUPS}u) {
  let g = ${from}[i];
  sum += dot(g, g);
}
sums[lane] = sum;
workgroupBarrier();
if (lane != 0u) { return; }
var all = 0f;
for (var i = 0u; i < ${LANES}u * once; i++) { all += sums[i]; }
${to}[group] = ${to}[group] + all;`;
  const module = w.finish("kernel", [LANES, 1, 1], body);
  return { module, grid: [NORM_GROUPS, 1, 1], bindings: w.bindings, constants: w.constants };
}

export interface Verdict {
  /** f32 [4], of which the first is meant: the norm, what a clipped gradient is multiplied by, 1 or 0 for whether all are finite. */
  readonly norm: Binding;
  readonly scale: Binding;
  readonly finite: Binding;
}

/** One invocation. `clip` is the largest norm, a host scalar by its place among `count`; 0: any. */
export function emitVerdict(
  partial: Binding,
  verdict: Verdict,
  clip: { readonly scalar: number; readonly count: number },
): EmittedKernel {
  const w = new KernelWriter();
  const from = w.bind(partial, "array<f32>", "read");
  const [norm, scale, finite] = [verdict.norm, verdict.scale, verdict.finite].map((b) =>
    w.bind(b, "array<f32>", "write"),
  ) as [string, string, string];
  const most = w.scalar(clip.scalar, clip.count);
  const body = `var all = 0f;
for (var i = 0u; i < ${NORM_GROUPS}u * once; i++) { all += ${from}[i]; }
let norm = sqrt(all);
${norm}[0] = norm;
${scale}[0] = select(min(1f, ${most} / (norm + 1e-6f)), 1f, ${most} == 0f);
${finite}[0] = select(1f, 0f, (bitcast<u32>(all) & 0x7f800000u) == 0x7f800000u);`;
  return { module: w.finish("kernel", [1, 1, 1], body), grid: [1, 1, 1], bindings: w.bindings, constants: w.constants };
}
