/**
 * `node bench/upcycle.ts`: how fast upcyclings stream, against a plain copy of the same bytes (`cat`, and its flush to the disk)
 * in the same round. Sources are four models whose weight files are sparse: reading them costs what the page cache costs,
 * writing costs the disk. Options: `--size 2GB` (of all sources together), `--upcyclings btx,average`, `--rounds N` (3),
 * `--folder PATH` (a disk with room for the largest result and the copy), `--memory 64MiB`.
 */
import { spawnSync } from "node:child_process";
import {
  mkdirSync,
  mkdtempSync,
  openSync,
  closeSync,
  ftruncateSync,
  rmSync,
  statfsSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { parseSize } from "../cli/options.ts";
import { encodeHeader, type TensorSpec } from "../runtime/checkpoint/safetensors-header.ts";
import { median } from "./engine.ts";
import { printNumber } from "./report.ts";

const { values: options } = parseArgs({
  options: {
    size: { type: "string", default: "2GB" },
    upcyclings: { type: "string", default: "btx,average" },
    rounds: { type: "string", default: "3" },
    folder: { type: "string", default: tmpdir() },
    memory: { type: "string" },
  },
});

const SOURCES = 4;
const worker = fileURLToPath(new URL("./upcycle-worker.ts", import.meta.url));

main();

function main(): void {
  const bytes = parseSize(options.size);
  const { bavail, bsize } = statfsSync(options.folder);
  if (2.5 * bytes > bavail * bsize) throw new Error(`${options.folder} has no room for ${options.size} twice`);
  const folder = mkdtempSync(join(options.folder, "moec-bench-"));
  try {
    const sources = Array.from({ length: SOURCES }, (_, i) => makeSource(join(folder, `source${i}`), bytes / SOURCES));
    // Whoever reads first would pay for the page cache.
    spawnSync("sh", ["-c", `cat ${sources.map((source) => `"${source}/model.safetensors"`).join(" ")} > /dev/null`]);
    const rows = options.upcyclings.split(",").map((name) => measure(name, sources, folder, bytes));
    console.log(
      "| upcycling | MB/s, median | copy, MB/s | of the copy's speed | processor s/GB | most resident, MiB |",
    );
    console.log("| --- | ---: | ---: | ---: | ---: | ---: |");
    for (const row of rows) console.log(`| ${row.join(" | ")} |`);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

interface Run {
  readonly seconds: number;
  /** Seconds of all processors together. */
  readonly busy: number;
  readonly resident: number;
}

/** Bytes per second are those of the sources, for both: what is read, whatever is written. */
function measure(name: string, sources: readonly string[], folder: string, bytes: number): readonly string[] {
  const runs = Array.from({ length: Number(options.rounds) }, (_, round) => {
    const [result, copy] = [join(folder, "result"), join(folder, "copy")];
    const ours = (): Run => {
      const args = [worker, name, result, options.memory ?? "", ...sources];
      const { stdout, stderr, status } = spawnSync(process.execPath, args, { encoding: "utf8" });
      rmSync(result, { recursive: true, force: true });
      if (status !== 0) throw new Error(stderr);
      return JSON.parse(stdout) as Run;
    };
    const theirs = (): number => {
      const begun = performance.now();
      // Every byte is read and written, and flushed, as ours are; `cp` would not read the holes.
      const copies = sources.map((source, i) => `cat "${source}/model.safetensors" > "${copy}/${i}"`).join(" && ");
      const done = spawnSync("sh", ["-c", `mkdir "${copy}" && ${copies} && sync -f "${copy}"`]);
      const seconds = (performance.now() - begun) / 1000;
      rmSync(copy, { recursive: true, force: true });
      if (done.status !== 0) throw new Error(String(done.stderr));
      return seconds;
    };
    // In turns, so that neither always meets the other's dirty pages.
    const first = round % 2 === 0 ? ours() : null;
    const copied = theirs();
    const run = first ?? ours();
    console.log(`${name}, round ${round + 1}: ${run.seconds.toFixed(1)} s, copy ${copied.toFixed(1)} s`);
    return { ...run, copied };
  });
  const speed = (seconds: number): string => printNumber(bytes / seconds / 1e6);
  return [
    name,
    speed(median(runs.map((r) => r.seconds))),
    speed(median(runs.map((r) => r.copied))),
    median(runs.map((r) => r.copied / r.seconds)).toFixed(2),
    (median(runs.map((r) => r.busy)) / (bytes / 1e9)).toFixed(2),
    String(Math.round(Math.max(...runs.map((r) => r.resident)) / 2 ** 20)),
  ];
}

/** A dense model of about this many bytes, in the proportions of a real one; all its weights are holes in the file. */
function makeSource(folder: string, bytes: number): string {
  const [hidden, inner, vocabulary] = [2048, 5632, 32000];
  const layer = 2 * (2 * hidden * hidden + 2 * hidden * (hidden / 4) + 3 * hidden * inner);
  const layers = Math.max(1, Math.round((bytes - 4 * vocabulary * hidden) / layer));
  const config = {
    model_type: "llama",
    architectures: ["LlamaForCausalLM"],
    hidden_size: hidden,
    intermediate_size: inner,
    num_hidden_layers: layers,
    num_attention_heads: 16,
    num_key_value_heads: 4,
    vocab_size: vocabulary,
    rms_norm_eps: 1e-5,
  };
  const matrix = (name: string, ...shape: number[]): TensorSpec => ({ name: `${name}.weight`, dtype: "BF16", shape });
  const tensors = [
    matrix("model.embed_tokens", vocabulary, hidden),
    ...Array.from({ length: layers }, (_, l) => `model.layers.${l}`).flatMap((at) => [
      matrix(`${at}.input_layernorm`, hidden),
      matrix(`${at}.self_attn.q_proj`, hidden, hidden),
      matrix(`${at}.self_attn.k_proj`, hidden / 4, hidden),
      matrix(`${at}.self_attn.v_proj`, hidden / 4, hidden),
      matrix(`${at}.self_attn.o_proj`, hidden, hidden),
      matrix(`${at}.post_attention_layernorm`, hidden),
      matrix(`${at}.mlp.gate_proj`, inner, hidden),
      matrix(`${at}.mlp.up_proj`, inner, hidden),
      matrix(`${at}.mlp.down_proj`, hidden, inner),
    ]),
    matrix("model.norm", hidden),
    matrix("lm_head", vocabulary, hidden),
  ];
  mkdirSync(folder);
  writeFileSync(join(folder, "config.json"), JSON.stringify(config));
  const header = encodeHeader(tensors, {});
  const file = openSync(join(folder, "model.safetensors"), "w");
  writeSync(file, header);
  ftruncateSync(file, header.byteLength + tensors.reduce((n, t) => n + 2 * t.shape.reduce((a, b) => a * b, 1), 0));
  closeSync(file);
  return folder;
}
