/** Where the software driver is taken from, on machines that are described here rather than owned. */
import { describe, expect, test } from "vitest";
import { installDriver, parseOsRelease, planDriver, type System } from "../../scripts/lavapipe.mjs";

const bookworm =
  'ID=debian\nVERSION_ID="12"\nVERSION_CODENAME=bookworm\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n';
const oldMesa = "22.3.6-1+deb12u2";
const deb822 = {
  path: "/etc/apt/sources.list.d/debian.sources",
  text: `Types: deb
# a comment
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/archive.gpg

Types: deb
URIs: http://mirror.example/security
Suites: bookworm-security
Components: main
`,
};

describe("planDriver", () => {
  const os = parseOsRelease(bookworm);

  test("takes the release's own package when its Mesa is new enough", () => {
    expect(planDriver([deb822], os, "1:24.2.8-1")).toMatchObject({ source: null, suite: null });
  });

  test("derives backports from the machine's own mirror and key", () => {
    expect(planDriver([deb822], os, oldMesa)).toEqual({
      packages: ["mesa-vulkan-drivers", "libvulkan1"],
      suite: "bookworm-backports",
      source: {
        path: "/etc/apt/sources.list.d/moec-backports.sources",
        text: `Types: deb
URIs: http://mirror.example/debian
Suites: bookworm-backports
Components: main
Signed-By: /usr/share/keyrings/archive.gpg
`,
      },
    });
  });

  test("reads apt's one-line format with its options", () => {
    const text =
      "# main\ndeb [arch=amd64,arm64 signed-by=/k.gpg] http://mirror.example/debian bookworm main contrib # why\n";
    expect(planDriver([{ path: "/etc/apt/sources.list", text }], os, oldMesa)).toMatchObject({
      source: {
        text: "Types: deb\nURIs: http://mirror.example/debian\nSuites: bookworm-backports\nComponents: main\nArchitectures: amd64 arm64\nSigned-By: /k.gpg\n",
      },
    });
  });

  test("keeps a key that is written into the source file", () => {
    const text = deb822.text.replace(
      " /usr/share/keyrings/archive.gpg",
      "\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n mQ",
    );
    expect(planDriver([{ path: deb822.path, text }], os, oldMesa)).toMatchObject({
      source: {
        text: expect.stringContaining("Signed-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n mQ\n") as string,
      },
    });
  });

  test("adds no source when backports are there, unless they are switched off", () => {
    const backports = {
      path: "/b.sources",
      text: deb822.text.replace("bookworm bookworm-updates", "bookworm-backports"),
    };
    expect(planDriver([deb822, backports], os, oldMesa)).toMatchObject({ source: null, suite: "bookworm-backports" });
    const off = { path: backports.path, text: `Enabled: no\n${backports.text}` };
    expect(planDriver([deb822, off], os, oldMesa)).toMatchObject({ source: { text: expect.any(String) as string } });
  });

  test("trusts the release number when apt knows no candidate", () => {
    expect(planDriver([deb822], os, null)).toMatchObject({ suite: "bookworm-backports" });
    expect(planDriver([], { ID: "debian", VERSION_ID: "13" }, null)).toMatchObject({ suite: null });
  });

  test("says so when there is no way", () => {
    expect(planDriver([], os, oldMesa)).toMatch(/no source for bookworm/);
    expect(planDriver([], { ID: "ubuntu", PRETTY_NAME: "Ubuntu 22.04" }, "23.2.1-1ubuntu3")).toMatch(
      /of Ubuntu 22.04 is too old/,
    );
  });
});

describe("installDriver", () => {
  /** A Debian 12 machine that notes what it was told to do as root. */
  function machine(rights: "root" | "none", failing = ""): { system: System; done: string[] } {
    const done: string[] = [];
    const asRoot = (command: string, args: string[]) => {
      const line = [command, ...args].join(" ");
      done.push(line);
      return { status: failing !== "" && line.includes(failing) ? 100 : 0, stdout: "" };
    };
    const system: System = {
      readSources: () => [deb822],
      readOsRelease: () => bookworm,
      run: () => ({ status: 0, stdout: `mesa-vulkan-drivers:\n  Installed: (none)\n  Candidate: ${oldMesa}\n` }),
      runAsRoot: rights === "root" ? asRoot : null,
      writeFile: (file) => done.push(`write ${file.path}`) > 0,
    };
    return { system, done };
  }

  test("writes the source, updates, and installs from it", () => {
    const { system, done } = machine("root");
    expect(installDriver(system, () => {})).toBeNull();
    expect(done).toEqual([
      "apt-get update -qq",
      "write /etc/apt/sources.list.d/moec-backports.sources",
      "apt-get update -qq",
      "apt-get install -y --no-install-recommends -t bookworm-backports mesa-vulkan-drivers libvulkan1",
    ]);
  });

  test("stops at the first command that fails", () => {
    const { system, done } = machine("root", "apt-get update");
    expect(installDriver(system, () => {})).toMatch(/apt-get update/);
    expect(done).toHaveLength(1);
  });

  test("without rights prints commands that can be pasted", () => {
    expect(installDriver(machine("none").system, () => {})).toMatchInlineSnapshot(`
      "run these commands as an administrator:

      sudo tee /etc/apt/sources.list.d/moec-backports.sources <<'END'
      Types: deb
      URIs: http://mirror.example/debian
      Suites: bookworm-backports
      Components: main
      Signed-By: /usr/share/keyrings/archive.gpg
      END
      sudo apt-get update
      sudo apt-get install -y --no-install-recommends -t bookworm-backports mesa-vulkan-drivers libvulkan1
      "
    `);
  });

  test("leaves distributions without apt to their owner", () => {
    const system = { ...machine("root").system, readOsRelease: () => "ID=fedora\n" };
    expect(installDriver(system, () => {})).toMatch(/Fedora: mesa-vulkan-drivers/);
  });
});
