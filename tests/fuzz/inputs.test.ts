/**
 * A fixed set of what strangers may hand in, mutated from sound files: each is taken or refused with a diagnostic that says where, in bounded
 * time and memory. `npm run fuzz -- inputs` tries more; what that found stands in `found/`, small, and is tried here ever after.
 */
import { globSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { findingPlace } from "./inputs.ts";
import { judge } from "./judge.ts";
import type { Bench } from "./kind.ts";
import { type KindName, kinds } from "./kinds.ts";
import { supervise } from "./supervise.ts";

/** How many of each kind take a few seconds. */
const COUNTS: Readonly<Record<KindName, number>> = {
  moe: 1500,
  safetensors: 4000,
  config: 500,
  tokenizer: 1200,
  mergekit: 250,
  plan: 1500,
};

const folders: string[] = [];
afterAll(() => folders.forEach((folder) => rmSync(folder, { recursive: true, force: true })));

async function open(kind: KindName): Promise<Bench> {
  const folder = mkdtempSync(join(tmpdir(), "moec-fuzz-"));
  folders.push(folder);
  return (await kinds[kind].open())(folder);
}

describe.each(Object.keys(COUNTS) as KindName[])("%s", (kind) => {
  test("that was changed at random is taken, or refused with a place", async () => {
    const { findings, tried, refused, taken } = await supervise({ kind, seed: 20261130, from: 0, count: COUNTS[kind] });
    expect(findings.map(({ input, at, signature, detail }) => `${input} (${at}): ${signature}\n${detail}`)).toEqual([]);
    expect(tried).toBe(COUNTS[kind]);
    // A set that is all refused, or all taken, tries nothing behind the first look.
    expect(Math.min(refused, taken)).toBeGreaterThan(tried / 50);
  });

  const found = globSync(`tests/fuzz/found/${kind}/*`).sort();
  if (found.length === 0) return;
  test("that was once found is right since", async () => {
    const bench = await open(kind);
    for (const path of found) {
      const text = readFileSync(path, kind === "safetensors" ? "latin1" : "utf8");
      const outcome = await judge(bench, { at: findingPlace(basename(path)), text });
      expect({ path, outcome }).toMatchObject({
        path,
        outcome: { kind: expect.stringMatching(/^(?:taken|refused)$/) },
      });
    }
  });
});
