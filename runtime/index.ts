/** The public surface of the runtime. `README.md` beside this file shows how the pieces go together. */
export { listAdapters } from "./dawn/find-adapter.ts";
export { type DeviceOptions, openDevice } from "./dawn/open-device.ts";
export type { AdapterFacts } from "./gpu/adapter.ts";
export type { Device } from "./gpu/device.ts";
export { loadModel } from "./load/load-model.ts";
export type { LoadedModel } from "./model/model.ts";
export { open, openModel, type OpenOptions } from "./open.ts";
export { compile } from "./session/open-model.ts";
export { loadPlan } from "./load/load-plan.ts";
export { savePlan } from "./save/save-plan.ts";
export type { ParameterSource } from "./gpu/parameters.ts";
export { openSession, type PrefillOptions, type Session, type SessionOptions } from "./session/session.ts";
export type { GeneratedToken, GenerateOptions } from "./session/generate.ts";
export type { Sampling } from "./session/sampler.ts";
export { Aborted, type AbortOptions } from "./abort.ts";
export { NotFinite } from "./session/not-finite.ts";
export { traceFinite, type TraceOptions } from "./trace-finite.ts";
export type { FiniteTrace, GivenPart } from "./session/finite-trace.ts";
export type { MemoryReport, StepSizes } from "./gpu/buffers.ts";
export type { Counters } from "./gpu/execute.ts";
export { type Profile, type ProfileOptions, type ProfileRow, profileSession } from "./measure/profile.ts";
export { collectMetrics, type Metric, type MetricOptions } from "./session/metrics.ts";
export { type Choices, type LayerLoad, type Routing, ROUTING_METRICS, traceRouting } from "./session/routing.ts";
export { type Roofline, measureRoofline } from "./measure/roofline.ts";
export { type GradientOptions, type Gradients, gradientsOf } from "./training/gradients.ts";
export {
  hashPlan,
  nameAdapter,
  type OptimizerState,
  type TrainingCheckpoint,
  writeTrainingCheckpoint,
} from "./training/checkpoint.ts";
export { openTraining, type TrainingEvent, type TrainingRun } from "./training/train.ts";
export type { TrainOptions } from "./training/train-options.ts";
export { checkTrainingFolder, lockTraining } from "./training/checkpoint-folder.ts";
export type { TrainingRecord } from "./training/train-record.ts";
export { checkSame, readTrainingCheckpoint, type StoredTraining } from "./training/resume.ts";
export { type DataOptions, openData, type SourceFacts, type TrainingData } from "./training/corpus/open-data.ts";
export type { DataSource } from "./training/corpus/source.ts";
export type { Batch, Batches, DataState } from "./training/data/batches.ts";
export { type GradientTensor, type GradientTensors, layOutGradients } from "./training/gradient-tensors.ts";
export { loadTokenizer } from "./load/load-tokenizer.ts";
export type { StreamDecoder, Tokenizer } from "./tokenizer/tokenizer.ts";
export { planUpcycle, type RuleTotal, type UpcyclePlan, type UpcycleRequest } from "./upcycle/plan.ts";
export { type ExecuteOptions, executeTransfer } from "./upcycle/execute.ts";
export type { Transfer, TransferTensor } from "./upcycle/transfer.ts";
export { type Estimate, estimateTransfer } from "./upcycle/estimate.ts";
export { readProvenance, type Trace, traceOrigin } from "./upcycle/why.ts";
export { type FreshOptions, planFresh } from "./upcycle/fresh.ts";
export { exportModel, type ExportOptions, planExport } from "./upcycle/export.ts";
export { compareModels, type Compared } from "./upcycle/compare.ts";
export { type Verification, verifyModels } from "./upcycle/verify.ts";
