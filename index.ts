/** What `import ... from "moec"` offers. */
export { parse } from "./grammar/index.ts";
export type { Diagnostic, Label, Severity } from "./grammar/index.ts";
