/** `--verify TEXT` of `moec upcycle`: the checkpoint that was written and its sources, run on real text. The GPU's library is loaded here. */
import type { MapBinding, Workspace } from "../../compiler/index.ts";
import { loadTokenizer } from "../../runtime/load/load-tokenizer.ts";
import { loadTokens } from "../../runtime/load/load-tokens.ts";
import { loadModel } from "../../runtime/load/load-model.ts";
import type { LoadedModel } from "../../runtime/model/model.ts";
import type { Verification } from "../../runtime/upcycle/verify.ts";
import { paint, plural, say, table } from "../output.ts";
import { cutSequences } from "../texts.ts";

/** Tokens of a sequence, and the most sequences: enough to see a mistake, little enough to wait for. */
const CONTEXT = 128;
const MOST_SEQUENCES = 8;

export interface VerifyOptions {
  readonly workspace: Workspace;
  readonly maps: readonly MapBinding[];
  readonly adapter: string | undefined;
  readonly traceFinite: boolean;
}

/** `text` is UTF-8, or a `.bin` of token ids. */
export async function verifyResult(
  out: string,
  text: string,
  sources: readonly LoadedModel[],
  { workspace, maps, adapter, traceFinite }: VerifyOptions,
): Promise<Verification> {
  const { openDevice } = await import("../../runtime/dawn/open-device.ts");
  const { verifyModels } = await import("../../runtime/upcycle/verify.ts");
  const made = await loadModel(out, workspace, maps);
  try {
    const ids = await loadTokens(text, text.endsWith(".bin") ? {} : { tokenizer: await loadTokenizer(out) });
    const cut = cutSequences(text, ids, { context: CONTEXT, limit: MOST_SEQUENCES, least: 2 });
    const device = await openDevice(adapter === undefined ? {} : { adapter });
    try {
      const named = sources.map((loaded) => ({ name: loaded.checkpoint.path, loaded }));
      const onModel = (name: string): void => say(`running ${name}`);
      return await verifyModels(device, { name: out, loaded: made }, named, cut, { onModel, traceFinite });
    } finally {
      device.close();
    }
  } finally {
    await made.checkpoint.close();
  }
}

export function describeVerification({ tokens, models }: Verification): string {
  const rows = models.map(({ name, perplexity, difference }) => [
    name,
    perplexity.toFixed(4),
    ...(difference === null ? ["", ""] : [difference.largest.toExponential(2), difference.mean.toExponential(2)]),
  ]);
  const head = ["model", "perplexity", "largest logit difference", "mean"].map(paint.bold);
  return `${table([head, ...rows], [1, 2, 3])}\n\nover ${plural(tokens, "token")}; differences are from the first model`;
}
