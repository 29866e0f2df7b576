/** What `import ... from "moec"` offers: text to tree, tree to plan, and a runtime for both checkpoints and plans. */
export { format, formatSpan, lineAndColumn, MoeError, parse, renderDiagnostic } from "./grammar/index.ts";
export type { Diagnostic, Label, Severity, SourceFile, Span } from "./grammar/index.ts";
export { accountModel, checkModule, compileModel, makeConfigured, Workspace } from "./compiler/index.ts";
export type { CompileModelOptions, Cost, Model, ModuleLoader, Part, Scope } from "./compiler/index.ts";
export type { DeviceFacts, Plan } from "./compiler/plan/plan.ts";
export { openWorkspace, readSource } from "./runtime/load/modules.ts";
export * from "./runtime/index.ts";
