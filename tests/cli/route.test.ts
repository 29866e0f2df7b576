/** `moec route` on small checkpoints, and its page. */
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { renderPage } from "../../cli/commands/route/page.ts";
import { describeRouting } from "../../cli/commands/route/text.ts";
import type { RoutedText } from "../../cli/commands/route/routed-text.ts";
import { describeLoad } from "../../runtime/session/routing.ts";
import { moec, temporary, writeFile } from "./support.ts";

const mixture = "tests/fixtures/families/mixtral";
const tokens = (count: number): string =>
  writeFile(`${count}.bin`, new Uint8Array(Uint16Array.from({ length: count }, (_, i) => (i * i + 7) % 96).buffer));

interface Report {
  readonly files: readonly {
    readonly tokens: number;
    readonly layers: readonly { readonly part: string; readonly load: readonly number[]; readonly entropy: number }[];
    readonly strip: {
      readonly parts: readonly string[];
      readonly tokens: readonly { readonly id: number; readonly experts: readonly (readonly number[])[] }[];
    };
  }[];
}

test("loads are K times the tokens in every layer, and the strip holds each token's choices", async () => {
  const run = await moec("route", mixture, "--tokens", tokens(100), "--context", "24", "--strip", "5", "--json");
  expect(run.code).toBe(0);
  const [file] = (JSON.parse(run.out) as Report).files;
  const perToken = file!.strip.tokens[0]!.experts[0]!.length;
  // Four whole sequences; the rest of the file is left out.
  expect(file!.tokens).toBe(96);
  expect(file!.strip.parts).toEqual(file!.layers.map((l) => l.part));
  for (const { load, entropy } of file!.layers) {
    expect(load.reduce((a, b) => a + b, 0)).toBe(96 * perToken);
    expect(entropy).toBeGreaterThan(0);
    expect(entropy).toBeLessThanOrEqual(1);
  }
  expect(file!.strip.tokens.map((t) => t.id)).toEqual([7, 8, 11, 16, 23]);
  for (const { experts } of file!.strip.tokens)
    experts.forEach((chosen, i) => {
      expect(new Set(chosen).size).toBe(perToken);
      for (const n of chosen) expect(file!.layers[i]!.load[n]).toBeGreaterThan(0);
    });
});

test("tables and a page come from one run", async () => {
  const page = temporary("routing.html");
  const run = await moec("route", mixture, "--tokens", tokens(40), tokens(60), "--context", "64", "--html", page);
  expect(run.code).toBe(0);
  expect(run.out.match(/ tokens in 1 sequence$/gm)).toHaveLength(2);
  expect(run.out).toMatch(/^layer .*entropy +max : mean +dead$/m);
  expect(run.err).toContain(`wrote ${page}`);
  expect(readFileSync(page, "utf8").match(/<article class="card strip">/g)).toHaveLength(2);
});

test.each([
  ["a dense model", ["tests/fixtures/families/llama", "--tokens"], "error[session/no-metric]"],
  ["no text", [mixture], "error[cli/nothing-to-do]"],
])("%s is told in words", async (_, args, words) => {
  const run = await moec("route", ...args, ...(args.at(-1) === "--tokens" ? [tokens(8)] : []), "--context", "64");
  expect(run.code).toBe(1);
  expect(run.out).toBe("");
  expect(run.err).toContain(words);
  expect(run.err).not.toContain("    at ");
});

const routed = (loads: readonly (readonly number[])[], words: readonly string[], file = "some.txt"): RoutedText => ({
  file,
  sequences: 2,
  routing: {
    tokens: 12,
    layers: loads.map((load, i) => describeLoad(`blocks[${i}]`, load)),
    choices: loads.map((_, i) => ({
      part: `blocks[${i}]`,
      perToken: 2,
      experts: Float64Array.from(words.flatMap(() => [1, 0])),
    })),
  },
  strip: words.map((text, id) => ({ id, text, experts: loads.map(() => [1, 0]) })),
});

describe("on a terminal", () => {
  test("few experts have bars, a dead one is counted", () => {
    const text = describeRouting(routed([[12, 6, 6], [24, 0, 0]], ["The", " cat", "\n"]), 2, 80); // prettier-ignore
    expect(text).toMatchInlineSnapshot(`
      "some.txt: 12 tokens in 2 sequences
      layer      expert 0        expert 1        expert 2        entropy  max : mean  dead
      blocks[0]  ███     50.0 %  █▌      25.0 %  █▌      25.0 %    0.946        1.50     0
      blocks[1]  ██████ 100.0 %           0.0 %           0.0 %    0.000        3.00     2

      token   blocks[0]  blocks[1]
      "The"   1 0        1 0
      " cat"  1 0        1 0"
    `);
  });

  test("many experts have a block each, and layers that do not fit are named", () => {
    const loads = Array.from({ length: 9 }, () => [0, 1, 2, 3, 4, 5, 6, 8]);
    const text = describeRouting(routed(loads, ["The"]), 1, 60);
    expect(text).toContain("·▂▃▄▅▆▇█");
    expect(text).toContain("and 4 layers more");
    expect(
      Math.max(
        ...text
          .split("\n\n")[1]!
          .split("\n")
          .map((line) => line.length),
      ),
    ).toBeLessThanOrEqual(60);
  });
});

describe("the page", () => {
  const hostile = `</script><img src=x onerror="alert(1)">`;
  const few = renderPage({ model: "M", checkpoint: "out", texts: [routed([[3, 0]], [hostile, " &amp;"], hostile)] });
  const many = renderPage({
    model: "M",
    checkpoint: "out",
    texts: [routed([Array.from({ length: 64 }, () => 1)], ["a"])],
  });

  test.each([
    ["few experts", few],
    ["prefill", many],
  ])("asks nobody for anything: %s", (_, page) => {
    const tags = [...page.matchAll(/<([a-z0-9]+)/g)].map((m) => m[1]);
    expect(
      tags.filter((tag) => ["link", "img", "iframe", "object", "embed", "video", "audio", "base"].includes(tag!)),
    ).toEqual([]);
    expect(page).not.toMatch(/https?:|\burl\(|@import|\bimport\b|\bfetch\b|XMLHttpRequest|<[^>]*\s(src|href)=/);
  });

  test("shows texts as they are, whatever they hold", () => {
    expect(few).not.toContain("<img");
    expect(few).toContain("&#60;img");
    expect(few).toContain(" &#38;amp;");
    expect(few.match(/<script/g)).toHaveLength(few.match(/<\/script>/g)!.length);
  });

  test("has a colour for every expert, marks the dead, and suits light and dark", () => {
    for (let n = 0; n < 64; n++) expect(many).toContain(`.e${n}{`);
    expect(few).toContain('<td class="dead"');
    expect(few).toContain("prefers-color-scheme: dark");
  });

  test("counts an expert as unmet only where no text met it", () => {
    const both = renderPage({ model: "M", checkpoint: "c", texts: [routed([[3, 0, 0]], []), routed([[0, 2, 0]], [])] });
    expect(both).toContain("<dt>experts that no token met</dt><dd>1</dd>");
  });
});
