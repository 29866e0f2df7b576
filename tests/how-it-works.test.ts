/** What docs/how-it-works.md shows is what the compiler gives for the program on the page. */
import { existsSync, readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { compileModel, makeConfigured, Workspace } from "../compiler/index.ts";
import type { Entry } from "../compiler/plan/plan.ts";
import { standardLibrary } from "../runtime/modules.ts";
import { planFiles } from "../runtime/plan-file.ts";
import { softwareFacts } from "./support/facts.ts";

const page = readFileSync("docs/how-it-works.md", "utf8");
const blocks = [...page.matchAll(/^```(\S+) (\S+)\n([^]*?)^```$/gm)].map(([, kind, name, text]) => ({
  kind: kind!,
  name: name!,
  text: text!,
}));
