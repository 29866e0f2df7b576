/** The public surface of the runtime. `README.md` beside this file shows how the pieces go together. */
export { type AdapterFacts, type Device, type DeviceOptions, listAdapters, openDevice } from "./device.ts";
export { type LoadedModel, loadModel } from "./model.ts";
export { compile, open, openModel, type OpenOptions } from "./open.ts";
export { loadPlan, savePlan } from "./plan-file.ts";
export type { ParameterSource } from "./parameters.ts";
export { openSession, type Session, type SessionOptions } from "./session.ts";
export type { GeneratedToken, GenerateOptions } from "./generate.ts";
export type { Sampling } from "./sampler.ts";
export type { MemoryReport, StepSizes } from "./buffers.ts";
export type { Counters } from "./execute.ts";
export { type Profile, type ProfileOptions, type ProfileRow, profileSession } from "./profile.ts";
export { type Ceilings, measureCeilings } from "./ceiling.ts";
export { loadTokenizer, type StreamDecoder, type Tokenizer } from "./checkpoint/index.ts";
export { planUpcycle, type RuleTotal, type UpcyclePlan, type UpcycleRequest } from "./upcycle/plan.ts";
export { type ExecuteOptions, executeTransfer } from "./upcycle/execute.ts";
export type { Transfer, TransferTensor } from "./upcycle/transfer.ts";
export { exportModel } from "./export.ts";
