/** `moec export`: a checkpoint written again, as another type, layout or size of files. */
import type { Command } from "commander";
import { checkSpace } from "../../runtime/files/disk.ts";
import { planExport } from "../../runtime/upcycle/export.ts";
import type { Transfer } from "../../runtime/upcycle/transfer.ts";
import { openFolder } from "../load.ts";
import { humanBytes, plural, print, printJson } from "../output.ts";
import { addTransferOptions, describeOutlook, lookAhead, runTransfer, type TransferFlags } from "../transfer.ts";

interface Options extends TransferFlags {
  readonly out: string;
  readonly map?: string;
  readonly plan?: true;
  readonly json?: true;
}

export function registerExport(program: Command): void {
  addTransferOptions(program.command("export"))
    .description("write a checkpoint again: as another type, in another layout of its family, in files of another size")
    .argument("<checkpoint>", "folder with config.json and safetensors files")
    .requiredOption("--out <folder>", "checkpoint to make")
    .option("--map <file>", "a .moe file with the map of the checkpoint's family")
    .option("--plan", "only show what would be done: bytes, memory, time, and room on the disk")
    .option("--json", "print what is done as JSON")
    .addHelpText("after", "\nExample:\n  moec export mixture --out fused --layout fused --dtype bf16")
    .action(runExport);
}

async function runExport(folder: string, options: Options): Promise<void> {
  const { out, json } = options;
  const loaded = await openFolder(folder, options.map);
  try {
    const { dtype, layout, memory: budget } = options;
    const transfer = planExport(loaded, { dtype, layout, budget });
    if (!json) print(describe(transfer));
    const outlook = options.plan === true ? await lookAhead(transfer, out) : null;
    if (outlook === null) await runTransfer(transfer, out, options);
    else if (!json) print(describeOutlook(outlook));
    if (json) printJson({ ...exportJson(transfer), ...outlook, ...(outlook === null ? { out } : {}) });
    if (outlook !== null) checkSpace(out, transfer.bytesWritten);
  } finally {
    await loaded.checkpoint.close();
  }
}

function describe({ tensors, bytesRead, bytesWritten, peakBytes }: Transfer): string {
  return [
    `${plural(tensors.length, "tensor")}: ${humanBytes(bytesRead)} to read, ${humanBytes(bytesWritten)} to write`,
    `at most ${humanBytes(peakBytes)} of weights in memory at a time`,
  ].join("\n");
}

function exportJson({ tensors, bytesRead, bytesWritten, peakBytes }: Transfer): object {
  const listed = tensors.map(({ name, shape, dtype, bytes }) => ({ name, shape, dtype, bytes }));
  return { bytesRead, bytesWritten, peakBytes, tensors: listed };
}
