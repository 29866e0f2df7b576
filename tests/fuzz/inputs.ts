/**
 * `npm run fuzz -- inputs`: inputs of every kind in turn until the time is over, a seed further each round. What is found is saved, made
 * small, in a folder; a file of it that goes into `found/` is tried by `npm test` ever after.
 */
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { kindNames, type KindName, kinds } from "./kinds.ts";
import { supervise } from "./supervise.ts";

/** Inputs of one kind before the next has its turn. */
const TURN = 200_000;

export async function fuzzInputs(args: readonly string[]): Promise<number> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      seconds: { type: "string", default: "60" },
      seed: { type: "string", default: "1" },
      kind: { type: "string", multiple: true },
      out: { type: "string", default: "fuzz-found" },
    },
  });
  const chosen = values.kind ?? kindNames;
  const unknown = chosen.find((kind) => !kindNames.includes(kind as KindName));
  if (unknown !== undefined) throw new Error(`there is no kind \`${unknown}\`: ${kindNames.join(", ")}`);
  const end = performance.now() + 1000 * Number(values.seconds);
  const counts = new Map(chosen.map((kind) => [kind, { tried: 0, taken: 0, refused: 0, seconds: 0 }]));
  const signatures = new Set<string>();
  // Each has several turns, long enough that opening it does not count.
  const turn = Math.max(20_000, (1000 * Number(values.seconds)) / chosen.length / 4);
  for (let seed = Number(values.seed); performance.now() < end; seed++) {
    for (const kind of chosen as KindName[]) {
      const start = performance.now();
      const stop = Math.min(end, start + turn);
      if (start >= end) break;
      const count = counts.get(kind)!;
      const tally = await supervise({
        kind,
        seed,
        from: 0,
        count: TURN,
        isMinimising: true,
        isOver: () => performance.now() > stop,
        onProgress: ({ tried, findings }) => progress(kind, seed, tried, findings.length),
      });
      count.tried += tally.tried;
      count.taken += tally.taken;
      count.refused += tally.refused;
      count.seconds += (performance.now() - start) / 1000;
      if (!process.stderr.isTTY) console.error(`${kind}, seed ${seed}: ${count.tried} tried, ${signatures.size} found`);
      for (const { at, text, signature, input, detail } of tally.findings) {
        const known = `${kind} ${signature}`;
        if (signatures.has(known)) continue;
        signatures.add(known);
        const path = await save(values.out, kind, at, text, signatures.size);
        console.log(
          `\n${kind} input ${input} of seed ${seed} (${at}): ${signature}\n  ${path}\n${detail.split("\n").slice(0, 6).join("\n")}`,
        );
      }
    }
  }
  clearLine();
  for (const [kind, { tried, taken, refused, seconds }] of counts)
    console.log(
      `${kind}: ${tried} tried, ${taken} taken, ${refused} refused, ${(tried / seconds).toFixed(0)} a second`,
    );
  console.log(`${signatures.size} findings${signatures.size > 0 ? `, in ${values.out}` : ""}`);
  return signatures.size === 0 ? 0 : 1;
}

/** The name of a file says what it was made from, and so what stands beside it. */
async function save(out: string, kind: KindName, at: string, text: string, n: number): Promise<string> {
  const folder = join(out, kind);
  await mkdir(folder, { recursive: true });
  const path = join(folder, `${at.replaceAll("/", "@").replaceAll(/[^\w.@#-]/g, "-")}--${n}.${kinds[kind].extension}`);
  await writeFile(path, text, kind === "safetensors" ? "latin1" : "utf8");
  return path;
}

/** The `at` of an input, out of the name that it was saved under. */
export const findingPlace = (name: string): string => name.split("--")[0]!.replaceAll("@", "/");

function progress(kind: string, seed: number, tried: number, findings: number): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${kind}, seed ${seed}: ${tried} tried, ${findings} found`);
}

function clearLine(): void {
  if (process.stderr.isTTY) process.stderr.write("\r\x1b[K");
}
