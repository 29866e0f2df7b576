/** The public surface of the compiler: everything that the runtime and the command line may use. */
export type { ModuleLoader } from "./language/resolve/modules.ts";
export type { Binding, Scope } from "./language/resolve/scope.ts";
export { Workspace } from "./language/resolve/modules.ts";
export { checkModule } from "./check/check.ts";
export type { Declared, Use } from "./check/name-table.ts";
export { namesAt, usesOf } from "./check/uses.ts";
export { describeType, type Facts, factsOf, type Seen } from "./check/facts.ts";
export { type Builtin, BUILTINS } from "./language/builtins.ts";
export type { Observer } from "./language/interpret/context.ts";
export type { Model, ModelParameter } from "./language/model/model.ts";
export { buildProgram, listParameters, makeModel, newContext } from "./language/model/model.ts";
export { printProgram } from "./graph/print.ts";
export { mixBits } from "./graph/scalar.ts";
export { type Horizon, horizonOf, positionsOf } from "./language/model/horizon.ts";
export type { ConstructorValue } from "./language/interpret/value.ts";
export { listParts } from "./language/model/parts.ts";
export type { MapBinding } from "./weights/map/config.ts";
export type { ConfigFile, Json } from "./weights/map/config-value.ts";
export { configAt, keySpan, toJson } from "./weights/map/config-value.ts";
export { knownKeys } from "./weights/map/config-objects.ts";
export { findContradictions } from "./weights/map/contradictions.ts";
export { findFloats, readConfig, writeConfig } from "./weights/map/config.ts";
export { findMap, lookupMap, modelType, settingKey } from "./weights/map/family.ts";
export { encodings, type EncodingName, FP8_BLOCK, MX_BLOCK } from "./weights/map/encoding.ts";
export type { Alike, ExpertLayout, Piece, TensorEntry, TensorMap } from "./weights/map/tensors.ts";
export { expandMap } from "./weights/map/tensors.ts";
export { checkTotal } from "./weights/map/total.ts";
export { fillInit } from "./language/model/init.ts";
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
} from "./weights/upcycle/recipe.ts";
export { activationsOf, orderTerms, sourcesOf, statisticsOf, sumsOf } from "./weights/upcycle/recipe.ts";
export type { Prompts } from "./weights/upcycle/observe.ts";
export { FORMULAS } from "./weights/upcycle/formula.ts";
export { MEASURES } from "./weights/upcycle/measure.ts";
export type { Pass } from "./weights/upcycle/pass.ts";
export type { View } from "./weights/upcycle/view.ts";
export { contiguousView, eachLine, extentOf, isWhole } from "./weights/upcycle/view.ts";
export { addFresh } from "./weights/upcycle/fresh.ts";
export type { Upcycling } from "./weights/upcycle/expand.ts";
export type { Family } from "./weights/upcycle/target.ts";
export { expandUpcycle } from "./weights/upcycle/expand.ts";
export { findLostSettings } from "./weights/upcycle/lost.ts";
export type { Override } from "./weights/upcycle/override.ts";
export { applyOverrides, sliceAssignment } from "./weights/upcycle/override.ts";
export { locateParameters } from "./weights/upcycle/locate.ts";
export type { Run } from "./weights/upcycle/runs.ts";
export { applyAssignments } from "./weights/upcycle/apply.ts";
export { reportContracts, runContracts } from "./weights/upcycle/ensure.ts";
export type { TestCase } from "./language/testing/test-case.ts";
export { prepareTest } from "./language/testing/test-case.ts";
export { checkExpectation } from "./language/testing/expect.ts";
export type { Value } from "./language/interpret/value.ts";
export type { Value as ArrayValue } from "./ops/define.ts";
export { evaluateProgram } from "./reference/interpret.ts";
export { makeConfigured } from "./language/model/configured.ts";
export type { Cost, Part } from "./account.ts";
export { accountModel } from "./account.ts";
export type { Accumulated, Accumulator } from "./training/accumulate.ts";
export { BATCH, batchProgram } from "./training/batch.ts";
export {
  compileTraining,
  type CompileTrainingOptions,
  makeTrainingProgram,
  type Optimizing,
  STEP_LOSS,
  STEP_METRIC,
  type TrainingPlan,
  isSaved,
  OPTIMIZER,
  stateId,
  VERDICT,
} from "./compile-training.ts";
export { addObjective, LIKELIHOOD } from "./training/objective.ts";
export { differentiateProgram } from "./training/differentiate.ts";
export { GRADIENT } from "./training/gradient-program.ts";
export { groupParameters, type Groups, type PathRule, RATE, type TrainingSettings } from "./training/groups.ts";
export { buildOptimizer, type OptimizerRule, optimizerFor } from "./training/optimizer.ts";
export { readSettings, type SettingTexts } from "./training/settings.ts";
export { compileGradients, type GradientPlan } from "./compile-gradients.ts";
export type { LookAhead, OutputTime } from "./causality.ts";
export { describeTime } from "./causality.ts";
export type { CompileModelOptions } from "./compile.ts";
export { CannotGenerate, compileModel, parametersGiving, splitMetric } from "./compile.ts";
export { givenTo } from "./language/interpret/probe.ts";
export type { CompileOptions } from "./pipeline.ts";
export { verifyPlan } from "./plan/verify.ts";
export { compileProgram, NotCausal, passes, peeksOf } from "./pipeline.ts";
export { emitSample, NO_TOKEN, SETTINGS_WORDS } from "./codegen/kernel/sample.ts";
