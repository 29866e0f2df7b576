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
