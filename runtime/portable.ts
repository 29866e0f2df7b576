/**
 * The runtime without Node: what runs wherever there is a `GPUDevice`, such as in a browser. Nothing that this reaches imports a module of
 * Node's or Dawn's package. Where devices, files and the standard library come from is for the program around it to say.
 */
export { Aborted, type AbortOptions } from "./abort.ts";
export { type AdapterFacts, guessKind } from "./gpu/adapter.ts";
export type { MemoryReport, StepSizes } from "./gpu/buffers.ts";
export type { Device, Wait } from "./gpu/device.ts";
export type { Counters } from "./gpu/execute.ts";
export type { ParameterSource } from "./gpu/parameters.ts";
export { type Opener, requestDevice } from "./gpu/request-device.ts";
export { type Profile, type ProfileOptions, type ProfileRow, profileSession } from "./measure/profile.ts";
export { measureRoofline, type Roofline } from "./measure/roofline.ts";
export { type FiniteTrace, type GivenPart, type TracedModel, traceParts } from "./session/finite-trace.ts";
export type { GeneratedToken, GenerateOptions } from "./session/generate.ts";
export { collectMetrics, type Metric, type MetricOptions } from "./session/metrics.ts";
export { NotFinite } from "./session/not-finite.ts";
export { type Choices, type LayerLoad, type Routing, ROUTING_METRICS, traceRouting } from "./session/routing.ts";
export type { Sampling } from "./session/sampler.ts";
export { openSession, type PrefillOptions, type Session, type SessionOptions } from "./session/session.ts";
