/** Options and steps of the commands that write checkpoints: what to expect beforehand, progress, what an earlier run left. */
import { type Command, Option } from "commander";
import type { ExpertLayout } from "../compiler/index.ts";
import { ELEMENT_TYPES, type ElementType } from "../runtime/checkpoint/element-type.ts";
import { freeBytes } from "../runtime/files/disk.ts";
import { partialFolder } from "../runtime/files/staging.ts";
import { type Estimate, estimateTransfer } from "../runtime/upcycle/estimate.ts";
import { executeTransfer } from "../runtime/upcycle/execute.ts";
import type { Transfer } from "../runtime/upcycle/transfer.ts";
import { parseSize } from "./options.ts";
import { humanBytes, humanTime, plural, say, startProgress } from "./output.ts";

export interface TransferFlags {
  readonly dtype?: ElementType;
  readonly layout?: ExpertLayout;
  readonly maxShardSize?: number;
  readonly memory?: number;
  readonly overwrite?: true;
  readonly adapter?: string;
  readonly traceFinite?: true;
}

export function addTransferOptions(command: Command): Command {
  return command
    .addOption(new Option("--dtype <type>", "how to store parameters (default: as the sources)").choices(ELEMENT_TYPES))
    .addOption(
      new Option("--layout <kind>", "experts stacked in few tensors, or one by one, where the family has both").choices(
        ["fused", "per-expert"],
      ),
    )
    .option("--max-shard-size <size>", "begin a new file after this many bytes, such as 5GB (default)", parseSize)
    .option("--memory <size>", "bytes of weights to hold at a time, such as 512MB (default: 32MiB)", parseSize)
    .option("--overwrite", "replace a checkpoint that is there already");
}

/** What is known before anything is written. */
export interface Outlook {
  readonly estimate: Estimate;
  /** Bytes on the target's disk; null when there is no target yet. */
  readonly free: number | null;
}

export async function lookAhead(transfer: Transfer, out: string | null): Promise<Outlook> {
  return { estimate: await estimateTransfer(transfer, out), free: out === null ? null : freeBytes(out) };
}

export function describeOutlook({ estimate, free }: Outlook): string {
  const { seconds, reading, writing, isWritingMeasured } = estimate;
  const speed = (bytes: number): string => `${humanBytes(bytes)}/s`;
  const how = isWritingMeasured
    ? `measured just now: reading ${speed(reading)}, writing ${speed(writing)}`
    : `reading ${speed(reading)}, measured just now; writing is assumed to be as fast`;
  const room = free === null ? [] : [`${humanBytes(free)} free on the target's disk`];
  return [`about ${humanTime(1000 * seconds)} (${how})`, ...room].join("\n");
}

/** Does what is planned, and tells of it on stderr. */
export async function runTransfer(transfer: Transfer, out: string, flags: TransferFlags): Promise<void> {
  const begun = performance.now();
  const bar = startProgress("writing", transfer.bytesWritten);
  let before = 0;
  try {
    await executeTransfer(transfer, out, {
      overwrite: flags.overwrite ?? false,
      adapter: flags.adapter,
      traceFinite: flags.traceFinite,
      onRun: ({ loaded, prompts }, done) => {
        if (done === prompts.length) say(`ran ${loaded.checkpoint.path} on ${plural(done, "prompt")}`);
      },
      ...(flags.maxShardSize === undefined ? {} : { maxShardBytes: flags.maxShardSize }),
      onEarlierRun: (bytes, isSame) => {
        before = bytes;
        if (isSame) say(`going on with an unfinished run: ${humanBytes(bytes)} are written`);
        else say(`${partialFolder(out)} was for other sources, rules or options: starting over`);
      },
      onProgress: (done, total) => bar.advance(done, `${humanBytes(done)} of ${humanBytes(total)}`),
    });
  } finally {
    bar.end();
  }
  say(`wrote ${out}: ${humanBytes(transfer.bytesWritten - before)} in ${humanTime(performance.now() - begun)}`);
}
