/**
 * Which template runs a contraction, an attention, its gradient or a delta rule: the first in preference order that suits, or one by name.
 */
import type { DeviceFacts } from "../../plan/plan.ts";
import type { AttendSpec } from "./attend/attend.ts";
import { attendGpu } from "./attend/attend-gpu.ts";
import { attendSoftware } from "./attend/attend-software.ts";
import type { AttendGradSpec, AttendGradTemplate } from "./attend-grad/attend-grad.ts";
import { attendGradGpu } from "./attend-grad/attend-grad-gpu.ts";
import { attendGradSoftware } from "./attend-grad/attend-grad-software.ts";
import type { EmittedKernel, ContractionSpec, ContractionTemplate } from "./contraction/contraction.ts";
import { contractionDecodeGpu } from "./contraction/contraction-decode-gpu.ts";
import { contractionDecodeSoftware } from "./contraction/contraction-decode-software.ts";
import { contractionRowsGpu } from "./contraction/contraction-rows-gpu.ts";
import { contractionRowsPlain } from "./contraction/contraction-rows-plain.ts";
import { contractionRowsSoftware } from "./contraction/contraction-rows-software.ts";
import { outerGpu } from "./outer/outer-gpu.ts";
import { outerPlain, outerSoftware } from "./outer/outer-rows.ts";
import type { OuterSpec, OuterTemplate } from "./outer/outer.ts";
import { deltaChunked } from "./delta/delta-chunked.ts";
import { deltaRecurrent } from "./delta/delta-recurrent.ts";
import type { DeltaKernel, DeltaSpec, DeltaTemplate } from "./delta/delta.ts";

export const contractionTemplates: readonly ContractionTemplate[] = [
  contractionRowsSoftware,
  contractionRowsGpu,
  contractionRowsPlain,
  contractionDecodeSoftware,
  contractionDecodeGpu,
];

/** The kernel for `spec`; `force` names a template of the regime, whatever it says about suiting. Throws when none suits. */
export function chooseContraction(
  spec: ContractionSpec,
  regime: "prefill" | "decode",
  device: DeviceFacts,
  force?: string,
): EmittedKernel {
  const found = contractionTemplates.find(
    (t) => t.regime === regime && (force === undefined ? t.suits(spec, device) : t.name === force),
  );
  if (found === undefined)
    throw new Error(`no template ${force ?? "that suits"} runs contraction ${spec.id} (${regime})`);
  return found.emit(spec, device);
}

export const outerTemplates: readonly OuterTemplate[] = [outerSoftware, outerGpu, outerPlain];

/** As `chooseContraction`, for a product over tokens. */
export function chooseOuter(spec: OuterSpec, device: DeviceFacts, force?: string): readonly EmittedKernel[] {
  const found = outerTemplates.find((t) => (force === undefined ? t.suits(spec, device) : t.name === force));
  if (found === undefined)
    throw new Error(`no template ${force ?? "that suits"} runs the product over tokens ${spec.id}`);
  return found.emit(spec, device);
}

/** A way to run attention, in both regimes. */
export interface AttendTemplate {
  readonly name: string;
  readonly suits: (spec: AttendSpec, device: DeviceFacts) => boolean;
  readonly emit: (spec: AttendSpec, regime: "prefill" | "decode", device: DeviceFacts) => EmittedKernel;
}

export const attendTemplates: readonly AttendTemplate[] = [attendSoftware, attendGpu];

/** As `chooseContraction`, for attention. */
export function chooseAttend(
  spec: AttendSpec,
  regime: "prefill" | "decode",
  device: DeviceFacts,
  force?: string,
): EmittedKernel {
  const found = attendTemplates.find((t) => (force === undefined ? t.suits(spec, device) : t.name === force));
  if (found === undefined) throw new Error(`no template ${force ?? "that suits"} runs attention ${spec.id}`);
  return found.emit(spec, regime, device);
}

export const attendGradTemplates: readonly AttendGradTemplate[] = [attendGradSoftware, attendGradGpu];

/** As `chooseContraction`, for attention's gradient. */
export function chooseAttendGrad(spec: AttendGradSpec, device: DeviceFacts, force?: string): EmittedKernel {
  const found = attendGradTemplates.find((t) => (force === undefined ? t.suits(spec, device) : t.name === force));
  if (found === undefined) throw new Error(`no template ${force} runs attention's gradient ${spec.id}`);
  return found.emit(spec, device);
}

export const deltaTemplates: readonly DeltaTemplate[] = [deltaChunked, deltaRecurrent];

/** As `chooseContraction`, for the delta rule. */
export function chooseDelta(
  spec: DeltaSpec,
  regime: "prefill" | "decode",
  device: DeviceFacts,
  force?: string,
): DeltaKernel {
  const found = deltaTemplates.find((t) => (force === undefined ? t.suits(spec, regime, device) : t.name === force));
  if (found === undefined) throw new Error(`no template ${force ?? "that suits"} runs the delta rule ${spec.id}`);
  return found.emit(spec, device);
}
