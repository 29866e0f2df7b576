/** The published package works by itself: packed, unpacked elsewhere, run. */
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, posix, resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

interface Manifest {
  readonly version: string;
  readonly dependencies: Readonly<Record<string, string>>;
}

describe("the package", () => {
  const manifest = JSON.parse(readFileSync("package.json", "utf8")) as Manifest;
  const folder = mkdtempSync(join(tmpdir(), "moec-package-"));
  const modules = join(folder, "node_modules");
  let files: readonly string[] = [];

  beforeAll(() => {
    // Packing builds `dist/`. Dependencies are linked instead of installed, so that the test needs no network.
    execFileSync("npm", ["pack", "--silent", "--pack-destination", folder], { stdio: ["ignore", "ignore", "inherit"] });
    const tarball = join(folder, `moec-${manifest.version}.tgz`);
    files = execFileSync("tar", ["-tzf", tarball], { encoding: "utf8" }).trim().split("\n");
    mkdirSync(join(modules, "moec"), { recursive: true });
    execFileSync("tar", ["-xzf", tarball, "-C", join(modules, "moec"), "--strip-components=1"]);
    for (const name of Object.keys(manifest.dependencies)) {
      mkdirSync(dirname(join(modules, name)), { recursive: true });
      symlinkSync(resolve("node_modules", name), join(modules, name), "junction");
    }
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  const node = (...args: readonly string[]) =>
    execFileSync(process.execPath, args, { cwd: folder, encoding: "utf8" }).trim();

  test("holds the library, the licence and built code, and nothing of the workshop", () => {
    expect(files).toEqual(expect.arrayContaining(["package/LICENSE", "package/README.md", "package/dist/index.d.ts"]));
    expect(files.some((file) => /^package\/stdlib\/.+\.moe$/.test(file))).toBe(true);
    const allowed =
      /^package\/(?:dist\/.+\.(?:js|d\.ts)|stdlib\/.+|cli\/bin\.js|docs\/[\w-]+\.(?:md|svg)|\w+\/README\.md|[A-Z]+(?:\.md)?|package\.json)$/;
    expect(files.filter((file) => !allowed.test(file))).toEqual([]);
  });

  test("holds what its README and its pages of documentation link to, and the picture", () => {
    const pages = files.filter((file) => /^package\/(?:README|docs\/[\w-]+)\.md$/.test(file));
    expect(pages.length).toBeGreaterThan(5);
    const missing = pages.flatMap((page) => {
      const text = readFileSync(join(modules, "moec", page.slice("package/".length)), "utf8");
      const prose = text.replace(/^```[^]*?^```$|^ {4}.*$|`[^`\n]*`/gm, "");
      return [...prose.matchAll(/\]\((?!https?:|#)([^)#]+)/g)]
        .map(([, link]) => posix.join(dirname(page), link!).replace(/\/$/, ""))
        .filter((path) => !files.some((file) => file === path || file.startsWith(`${path}/`)));
    });
    expect(missing).toEqual([]);
  });

  test("runs as a command", () => {
    expect(existsSync(join(modules, "moec/cli/main.ts"))).toBe(false);
    expect(node(join(modules, "moec/cli/bin.js"), "--version")).toContain(manifest.version);
  });

  test("can be imported by its name", () => {
    const program = 'import("moec").then((m) => console.log(Object.keys(m).join(" ")))';
    expect(node("-e", program).split(" ").length).toBeGreaterThan(0);
  });
});
