/** The public surface of the compiler: everything that the runtime and the command line may use. */
export type { Binding, ModuleLoader, Scope } from "./resolve/modules.ts";
export { Workspace } from "./resolve/modules.ts";
export { checkModule } from "./check/check.ts";
export type { Model, ModelParameter } from "./model/model.ts";
export { buildProgram, listParameters, makeModel, newContext } from "./model/model.ts";
export type { ConfigFile, Json, MapBinding } from "./map/config.ts";
export { findMap, modelType, readConfig, toJson, writeConfig } from "./map/config.ts";
export type { Piece, TensorEntry, TensorMap } from "./map/tensors.ts";
export { expandMap } from "./map/tensors.ts";
export { checkTotal } from "./map/total.ts";
export { fillInit } from "./model/init.ts";
export type { Assignment, Recipe, Term } from "./upcycle/recipe.ts";
export type { Upcycling } from "./upcycle/expand.ts";
export { expandUpcycle } from "./upcycle/expand.ts";
export { applyAssignments, reportContracts, runContracts } from "./upcycle/ensure.ts";
export type { TestCase } from "./testing/test-case.ts";
export { prepareTest } from "./testing/test-case.ts";
export { checkExpectation } from "./testing/expect.ts";
