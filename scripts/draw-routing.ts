/**
 * `node scripts/draw-routing.ts`: docs/routing.svg, the picture of the README. The demo's mixture routes the beginnings of three texts; a token
 * has the colour of the expert that its router puts first, in one layer. Fonts and light or dark are the reader's.
 */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** As `npm run demo` has them. */
const SOURCES = ["seed", "code", "law", "math"] as const;
const TEXTS = {
  code: "def read_file(path):\n    return open(path).read()\n",
  law: "Permission is hereby granted, free of charge, to any person obtaining a copy",
  math: "Question: what is 12 + 30?\nAnswer: 12 + 30 = 42",
} as const;
const LAYER = 1;

/** By expert, on light and on dark alike: far apart for all kinds of colour vision (Okabe and Ito, 2008). */
const COLOURS = ["#56b4e9", "#e69f00", "#009e73", "#cc79a7"] as const;

export interface RoutedToken {
  readonly text: string;
  readonly expert: number;
}

/** Runs a command and gives what it prints. */
export type Run = (...args: readonly string[]) => Promise<string>;

/** The demo's mixture, in a new folder. Gives what the command prints. */
export function makeMixture(run: Run, folder: string, ...options: readonly string[]): Promise<string> {
  const from = SOURCES.flatMap((name) => ["--from", join("examples", "checkpoints", name)]);
  return run("upcycle", "btx", ...from, "--out", folder, ...options);
}

/** Each text's tokens, with the expert that the router of `LAYER` puts first; texts are written to `work` for it. */
export async function routeTexts(
  run: Run,
  mixture: string,
  work: string,
): Promise<ReadonlyMap<string, readonly RoutedToken[]>> {
  const paths = Object.entries(TEXTS).map(([name, text]) => {
    writeFileSync(join(work, name), text);
    return join(work, name);
  });
  const report = await run("route", mixture, "--text", ...paths, "--context", "16", "--strip", "16", "--json");
  const { files } = JSON.parse(report) as {
    readonly files: readonly {
      readonly strip: { readonly tokens: readonly { readonly text: string; readonly experts: readonly number[][] }[] };
    }[];
  };
  return new Map(
    Object.keys(TEXTS).map((name, i) => [
      name,
      // The first is the mark of a beginning.
      files[i]!.strip.tokens.slice(1).map(({ text, experts }) => ({ text, expert: experts[LAYER]![0]! })),
    ]),
  );
}

const [WIDTH, ROW, TOP, CHARACTER] = [820, 42, 74, 8.4];

export function drawRouting(texts: ReadonlyMap<string, readonly RoutedToken[]>): string {
  const legend = COLOURS.map(
    (colour, n) =>
      `<rect x="${24 + n * 110}" y="40" width="14" height="14" rx="3" fill="${colour}"/><text x="${44 + n * 110}" y="52" class="note">expert ${n}</text>`,
  );
  const rows = [...texts].flatMap(([name, tokens], i) => {
    const y = TOP + i * ROW;
    let x = 84;
    const chips = tokens.flatMap(({ text, expert }) => {
      const shown = text.replaceAll("\n", "⏎");
      const width = Math.max(14, shown.length * CHARACTER + 6);
      if (x + width > WIDTH - 16) return [];
      const box = `<rect x="${x.toFixed(1)}" y="${y}" width="${width.toFixed(1)}" height="28" rx="5" fill="${COLOURS[expert]}"/>`;
      const word = `<text x="${(x + 3).toFixed(1)}" y="${y + 19}" class="token" xml:space="preserve">${escape(shown)}</text>`;
      x += width + 3;
      return [box + word];
    });
    return [`<text x="24" y="${y + 19}" class="name">${name}</text>`, ...chips];
  });
  const height = TOP + texts.size * ROW + 14;
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" role="img" aria-label="Tokens of three texts, coloured by the expert that they go to">
<style>
  .title { font: 600 15px system-ui, sans-serif; fill: #1f2328 }
  .note, .name { font: 13px system-ui, sans-serif; fill: #59636e }
  .token { font: 14px ui-monospace, monospace; fill: #101418 }
  @media (prefers-color-scheme: dark) { .title { fill: #f0f6fc } .note, .name { fill: #9198a1 } }
</style>
<text x="24" y="24" class="title">Where tokens go: the first expert of each, in one layer of a mixture of four</text>
${[...legend, ...rows].join("\n")}
<text x="24" y="${height - 8}" class="note">The router is new, so its choices are still random: training teaches it when to ask which.</text>
</svg>
`;
}

const escape = (text: string): string => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");

if (import.meta.main) {
  const run: Run = async (...args) => {
    const command = [join("cli", "bin.js"), ...args];
    return execFileSync(process.execPath, command, { encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] });
  };
  const work = mkdtempSync(join(tmpdir(), "moec-picture-"));
  try {
    await makeMixture(run, join(work, "mixture"));
    writeFileSync("docs/routing.svg", drawRouting(await routeTexts(run, join(work, "mixture"), work)));
  } finally {
    rmSync(work, { recursive: true });
  }
}
