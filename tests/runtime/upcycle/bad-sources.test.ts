/** Damaged sources end in one error that names tensor and file, and in nothing under the final name. */
import { cpSync, readdirSync, readFileSync, renameSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { openSafetensors } from "../../../runtime/load/open-checkpoint.ts";
import { exportModel } from "../../../runtime/upcycle/export.ts";
import { loadModel } from "../../../runtime/load/load-model.ts";
import { executeTransfer } from "../../../runtime/upcycle/execute.ts";
import { expectFailure, withScratch } from "../checkpoint/scratch.ts";
import { CHECKPOINTS, withPlan, withRecipe } from "./support.ts";

const WEIGHTS = "model.safetensors";
const DOWN = "model.layers.2.mlp.down_proj.weight";

/** A copy of a source; `spoil` gets its folder. */
function copySource(scratch: string, spoil: (folder: string) => void): readonly string[] {
  const folder = join(scratch, "damaged");
  cpSync(CHECKPOINTS[1]!, folder, { recursive: true });
  spoil(folder);
  return [CHECKPOINTS[0]!, folder];
}

/** Plans and runs; `during` comes between. */
async function upcycle(
  scratch: string,
  sources: readonly string[],
  during = (): void => undefined,
  options: { readonly dtype?: "f16" } = {},
): Promise<void> {
  await withPlan("btx", sources, options, async (plan) => {
    during();
    await executeTransfer(plan, join(scratch, "out"));
  });
}

const expectNothing = (scratch: string, ...others: readonly string[]): void =>
  expect(readdirSync(scratch).sort()).toEqual([...others].sort());

/** Where a tensor begins in a file of weights. */
async function findTensor(path: string, name: string): Promise<number> {
  const file = await openSafetensors(path);
  await file.close();
  return file.dataStart + file.tensors.get(name)!.offset;
}

/** A copy of a source in which element 77 of a tensor is another bfloat16, by its bits. */
async function spoil(folder: string, name: string, bits: number): Promise<void> {
  cpSync(CHECKPOINTS[1]!, folder, { recursive: true });
  const path = join(folder, WEIGHTS);
  const bytes = readFileSync(path);
  bytes.writeUInt16LE(bits, (await findTensor(path, name)) + 2 * 77);
  writeFileSync(path, bytes);
}

describe("before anything is read", () => {
  test("a file that is cut short", async () => {
    await withScratch(async (scratch) => {
      const sources = copySource(scratch, (folder) => truncateSync(join(folder, WEIGHTS), 1_500_000));
      await expectFailure(upcycle(scratch, sources), "checkpoint/truncated", "tensor `model.layers.", "damaged/model");
      expectNothing(scratch, "damaged");
    });
  });

  test("a tensor of another name", async () => {
    await withScratch(async (scratch) => {
      const sources = copySource(scratch, (folder) => {
        const path = join(folder, WEIGHTS);
        writeFileSync(path, readFileSync(path, "latin1").replace(DOWN, DOWN.replace("down", "dwon")), "latin1");
      });
      await expectFailure(upcycle(scratch, sources), "checkpoint/missing-tensor", DOWN, "damaged", "dwon");
      expectNothing(scratch, "damaged");
    });
  });

  test("shards that changed places, and one that is not there", async () => {
    await withScratch(async (scratch) => {
      const folder = join(scratch, "damaged");
      const loaded = await loadModel(CHECKPOINTS[1]!);
      await exportModel(loaded, folder, { maxShardBytes: 800_000 }).finally(() => loaded.checkpoint.close());
      const [first, second] = readdirSync(folder).filter((name) => name.endsWith(".safetensors")) as [string, string];
      renameSync(join(folder, first), join(folder, "aside"));
      renameSync(join(folder, second), join(folder, first));
      renameSync(join(folder, "aside"), join(folder, second));
      const sources = [CHECKPOINTS[0]!, folder];
      await expectFailure(upcycle(scratch, sources), "checkpoint/index-mismatch", "tensor `", first);
      renameSync(join(folder, second), join(folder, "gone.txt"));
      await expectFailure(upcycle(scratch, sources), "checkpoint/missing-shard", second);
      expectNothing(scratch, "damaged");
    });
  });
});

describe("on the way", () => {
  test("values that are no numbers, in a copy and in an average", async () => {
    await withScratch(async (scratch) => {
      for (const name of [DOWN, "model.layers.1.self_attn.q_proj.weight"]) {
        const sources = [CHECKPOINTS[0]!, join(scratch, "damaged")];
        const path = join(sources[1]!, WEIGHTS);
        await spoil(sources[1]!, name, 0x7fc0);
        const made = upcycle(scratch, sources);
        await expectFailure(made, "checkpoint/not-finite", "element 77", `tensor \`${name}\` of \`${path}\``);
        expectNothing(scratch, "damaged");
      }
    });
  });

  test("numbers that the type to write has no room for, in a copy and in an average", async () => {
    await withScratch(async (scratch) => {
      // bfloat16, by its bits.
      for (const [name, bits, words] of [
        [DOWN, 0x47c3, "f16 cannot hold 9.984e4, element 77"],
        ["model.layers.1.self_attn.q_proj.weight", 0x7f61, "f16 cannot hold 1.4"],
      ] as const) {
        const sources = [CHECKPOINTS[0]!, join(scratch, "large")];
        await spoil(sources[1]!, name, bits);
        const made = upcycle(scratch, sources, undefined, { dtype: "f16" });
        await expectFailure(made, "checkpoint/overflow", words, name, "--dtype bf16, or --dtype f32");
        expectNothing(scratch, "large");
      }
    });
  });

  test("a sum of numbers that is too large for any type", async () => {
    await withScratch(async (scratch) => {
      const sources = ["a", "b"].map((folder) => join(scratch, folder));
      for (const folder of sources) await spoil(folder, DOWN, 0x7f7f);
      const recipe = `edition 2026
import { Llama } from "std"

upcycle twice(a: Llama, b: Llama) -> Llama {
  default = a + b
}
`;
      await withRecipe(recipe, sources, async (plan) => {
        const made = executeTransfer(plan, join(scratch, "out"));
        await expectFailure(made, "checkpoint/overflow", "f32 cannot hold element 77", "finite", DOWN);
      });
      expectNothing(scratch, "a", "b");
    });
  });

  test("a file that becomes shorter", async () => {
    await withScratch(async (scratch) => {
      const sources = copySource(scratch, () => undefined);
      const path = join(sources[1]!, WEIGHTS);
      const at = await findTensor(path, DOWN);
      const made = upcycle(scratch, sources, () => truncateSync(path, at + 100));
      await expectFailure(made, "checkpoint/truncated", "while tensor `model.layers.", "damaged/model.safetensors");
      expectNothing(scratch, "damaged");
    });
  });

  test("a file that is written to", async () => {
    await withScratch(async (scratch) => {
      const sources = copySource(scratch, () => undefined);
      const path = join(sources[1]!, WEIGHTS);
      const made = upcycle(scratch, sources, () => writeFileSync(path, readFileSync(path)));
      await expectFailure(made, "checkpoint/changed", "damaged/model.safetensors");
      expectNothing(scratch, "damaged");
    });
  });
});
