/** The public surface of the compiler: everything that the runtime and the command line may use. */
export type { Binding, ModuleLoader, Scope } from "./resolve/modules.ts";
export { Workspace } from "./resolve/modules.ts";
export { checkModule } from "./check/check.ts";
export type { Model, ModelParameter } from "./model/model.ts";
export { buildProgram, listParameters, makeModel, newContext } from "./model/model.ts";
export { printProgram } from "./graph/print.ts";
export { type Horizon, horizonOf, positionsOf } from "./model/horizon.ts";
export type { ConstructorValue } from "./interpret/value.ts";
export { listParts } from "./model/parts.ts";
export type { MapBinding } from "./map/config.ts";
export type { ConfigFile, Json } from "./map/config-value.ts";
export { configAt, keySpan, toJson } from "./map/config-value.ts";
export { knownKeys } from "./map/config-objects.ts";
export { findContradictions } from "./map/contradictions.ts";
export { findFloats, readConfig, writeConfig } from "./map/config.ts";
export { findMap, lookupMap, modelType, settingKey } from "./map/family.ts";
export { encodings, type EncodingName, FP8_BLOCK, MX_BLOCK } from "./map/encoding.ts";
export type { Alike, Layout, Piece, TensorEntry, TensorMap } from "./map/tensors.ts";
export { expandMap } from "./map/tensors.ts";
export { checkTotal } from "./map/total.ts";
export { fillInit } from "./model/init.ts";
export type {
  Activation,
  Assignment,
  FormulaTerm,
  FreshTerm,
  OrderedTerm,
  Prompt,
  SourceTerm,
  Statistic,
  Term,
} from "./upcycle/recipe.ts";
export { activationsOf, orderTerms, sourcesOf, statisticsOf, sumsOf } from "./upcycle/recipe.ts";
export type { Prompts } from "./upcycle/observe.ts";
export { FORMULAS } from "./upcycle/formula.ts";
export { MEASURES } from "./upcycle/measure.ts";
export type { Pass } from "./upcycle/pass.ts";
export type { View } from "./upcycle/view.ts";
export { contiguousView, eachLine, extentOf, isWhole } from "./upcycle/view.ts";
export { addFresh } from "./upcycle/fresh.ts";
export type { Upcycling } from "./upcycle/expand.ts";
export type { Family } from "./upcycle/target.ts";
export { expandUpcycle } from "./upcycle/expand.ts";
export { findLostSettings } from "./upcycle/lost.ts";
export type { Override } from "./upcycle/override.ts";
export { applyOverrides, sliceAssignment } from "./upcycle/override.ts";
export { locateParameters } from "./upcycle/locate.ts";
export type { Run } from "./upcycle/runs.ts";
export { applyAssignments } from "./upcycle/apply.ts";
export { reportContracts, runContracts } from "./upcycle/ensure.ts";
export type { TestCase } from "./testing/test-case.ts";
export { prepareTest } from "./testing/test-case.ts";
export { checkExpectation } from "./testing/expect.ts";
export type { Value } from "./interpret/value.ts";
export type { Value as ArrayValue } from "./ops/define.ts";
export { evaluateProgram } from "./reference/interpret.ts";
export { makeConfigured } from "./model/configured.ts";
export type { Cost, Part } from "./account.ts";
export { accountModel } from "./account.ts";
export type { Accumulator, Batched } from "./batch/batch.ts";
export { BATCH, batchProgram } from "./batch/batch.ts";
export { addObjective, LIKELIHOOD } from "./objective/objective.ts";
export { differentiateProgram } from "./autodiff/differentiate.ts";
export type { LookAhead, OutputTime } from "./causality.ts";
export { describeTime } from "./causality.ts";
export type { CompileModelOptions } from "./compile.ts";
export { compileModel, parametersGiving, splitMetric } from "./compile.ts";
export { givenTo } from "./interpret/probe.ts";
export type { CompileOptions } from "./pipeline.ts";
export { verifyPlan } from "./assemble/verify.ts";
export { compileProgram, NotCausal, passes, peeksOf } from "./pipeline.ts";
export { emitSample, NO_TOKEN, SETTINGS_WORDS } from "./kernel/sample.ts";
