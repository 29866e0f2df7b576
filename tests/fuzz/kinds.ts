/** The kinds of input that strangers hand in. Each is opened where it runs. */
import type { OpenBench } from "./kind.ts";

export const kinds = {
  moe: { extension: "moe", open: async () => (await import("./moe.ts")).openMoe },
  safetensors: { extension: "safetensors", open: async () => (await import("./safetensors.ts")).openSafetensorsBench },
  config: { extension: "json", open: async () => (await import("./config.ts")).openConfig },
  tokenizer: { extension: "json", open: async () => (await import("./tokenizer.ts")).openTokenizer },
  mergekit: { extension: "yml", open: async () => (await import("./mergekit.ts")).openMergekit },
  plan: { extension: "json", open: async () => (await import("./plan.ts")).openPlan },
} as const satisfies Readonly<Record<string, { readonly extension: string; readonly open: () => Promise<OpenBench> }>>;

export type KindName = keyof typeof kinds;

export const kindNames = Object.keys(kinds) as KindName[];
