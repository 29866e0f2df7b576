/**
 * The runtime without Node: what runs wherever there is a `GPUDevice`, such as in a browser. Nothing that this reaches imports a module of
 * Node's or Dawn's package. Where devices, files and the standard library come from is for the program around it to say.
 */
export { Aborted, type AbortOptions } from "./abort.ts";
export { type ByteSource, Unreadable } from "./checkpoint/byte-source.ts";
export type { Folder } from "./checkpoint/folder.ts";
export { type Checkpoint, readCheckpoint, type StoredTensor } from "./checkpoint/store.ts";
export { type AdapterFacts, guessKind } from "./gpu/adapter.ts";
export type { MemoryReport, StepSizes } from "./gpu/buffers.ts";
export type { Device, Wait } from "./gpu/device.ts";
export type { Counters } from "./gpu/execute.ts";
export type { ParameterSource } from "./gpu/parameters.ts";
export { type Opener, requestDevice } from "./gpu/request-device.ts";
export { type Profile, type ProfileOptions, type ProfileRow, profileSession } from "./measure/profile.ts";
export { parseConfig } from "./model/config-file.ts";
export { type LoadedModel, readModel } from "./model/model.ts";
export { measureRoofline, type Roofline } from "./measure/roofline.ts";
export { readPlan } from "./plan/read-plan.ts";
export { type FiniteTrace, type GivenPart, traceParts } from "./session/finite-trace.ts";
export type { GeneratedToken, GenerateOptions } from "./session/generate.ts";
export { collectMetrics, type Metric, type MetricOptions } from "./session/metrics.ts";
export { NotFinite } from "./session/not-finite.ts";
export { type Choices, type LayerLoad, type Routing, ROUTING_METRICS, traceRouting } from "./session/routing.ts";
export { compile, type ModelOptions, openOn, type RunnableModel } from "./session/open-model.ts";
export type { Sampling } from "./session/sampler.ts";
export { openSession, type PrefillOptions, type Session, type SessionOptions } from "./session/session.ts";
export { runTestOnDevice } from "./testing/device.ts";
export { type Failure, prepareTests, runTestOnOracle } from "./testing/prepare.ts";
export { type GradientOptions, type Gradients, gradientsOf } from "./training/gradients.ts";
export { type GradientTensor, type GradientTensors, layOutGradients } from "./training/gradient-tensors.ts";
export { DOCUMENT_SEPARATOR, encodeDocuments } from "./tokenizer/documents.ts";
export { type LimitTime, TimeIsOver } from "./tokenizer/limit.ts";
export { readTokenizer, type StreamDecoder, type Tokenizer } from "./tokenizer/tokenizer.ts";
