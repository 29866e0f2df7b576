/**
 * Puts Mesa's software Vulkan driver (lavapipe) on Debian and Ubuntu machines that have no GPU. Dawn accepts it from
 * Mesa 24 on; Debian 12 ships 22.3, so there the driver comes from the release's backports, taken from the same mirror and
 * checked with the same key as the machine's own packages: nothing about the network is assumed here.
 * `planDriver` decides and is pure; `installDriver` acts through a `System`, which tests replace.
 */

/** @typedef {{ path: string, text: string }} TextFile */
/** @typedef {{ status: number, stdout: string }} Outcome */
/** @typedef {{ source: TextFile | null, packages: string[], suite: string | null }} DriverPlan `suite`: where apt takes it from */
/**
 * @typedef {object} System What the installation may do to a machine.
 * @property {() => TextFile[]} readSources apt's list files
 * @property {() => string} readOsRelease
 * @property {(file: TextFile) => boolean} writeFile as root; false when that failed
 * @property {(command: string, args: string[]) => Outcome} run as the user
 * @property {((command: string, args: string[]) => Outcome) | null} runAsRoot null without the rights
 */

const packages = ["mesa-vulkan-drivers", "libvulkan1"];
const oldestMesa = 24;
const sourcePath = "/etc/apt/sources.list.d/moec-backports.sources";

/**
 * Installs the driver. Returns null when that worked, else what the user is to do, as text.
 * @param {System} system
 * @param {(line: string) => void} say
 * @returns {string | null}
 */
export function installDriver(system, say) {
  const os = parseOsRelease(system.readOsRelease());
  if (!isDebianLike(os)) {
    return "install Mesa's Vulkan drivers, version 24 or newer, with the system's package manager (Fedora: mesa-vulkan-drivers, Arch: vulkan-swrast)";
  }
  const plan = () => planDriver(system.readSources(), os, readCandidate(system));
  if (!system.runAsRoot) {
    const wanted = plan();
    return typeof wanted === "string"
      ? wanted
      : `run these commands as an administrator:\n\n${printCommands(wanted)}\n`;
  }
  // A fresh machine (a container above all) has empty package lists and knows no candidate yet.
  if (system.runAsRoot("apt-get", ["update", "-qq"]).status !== 0) return "`apt-get update` failed: see above";
  const wanted = plan();
  if (typeof wanted === "string") return wanted;
  if (wanted.source) {
    say(`adding ${wanted.source.path}`);
    if (!system.writeFile(wanted.source)) return `${wanted.source.path} cannot be written`;
    if (system.runAsRoot("apt-get", ["update", "-qq"]).status !== 0) return "`apt-get update` failed: see above";
  }
  const install = installArguments(wanted);
  say(`apt-get ${install.join(" ")}`);
  return system.runAsRoot("apt-get", install).status === 0 ? null : "`apt-get install` failed: see above";
}

/**
 * Where the driver comes from: the release itself when its Mesa is new enough, else (Debian) its backports.
 * `candidate` is the version apt would install now, null when it knows none. Returns text when there is no way.
 * @param {TextFile[]} sources
 * @param {Record<string, string>} os
 * @param {string | null} candidate
 * @returns {DriverPlan | string}
 */
export function planDriver(sources, os, candidate) {
  // Without package lists the release number has to do: Debian 13 is the first with a Mesa that Dawn accepts.
  const isNewEnough = candidate
    ? majorVersion(candidate) >= oldestMesa
    : os.ID !== "debian" || Number(os.VERSION_ID) >= 13;
  if (isNewEnough) return { source: null, packages, suite: null };
  if (os.ID !== "debian") {
    return `Mesa ${candidate} of ${os.PRETTY_NAME ?? "this release"} is too old for Dawn, which needs 24 or newer: upgrade the release or install a newer Mesa`;
  }
  const release = os.VERSION_CODENAME ?? "";
  const suite = `${release}-backports`;
  const stanzas = sources.flatMap(readStanzas).filter((s) => s.Enabled !== "no" && words(s.Types).includes("deb"));
  if (stanzas.some((s) => words(s.Suites).includes(suite))) return { source: null, packages, suite };
  const own = stanzas.find((s) => words(s.Suites).includes(release) && words(s.Components).includes("main"));
  if (!own) return `apt has no source for ${release}: add ${suite} by hand and install ${packages.join(" ")} from it`;
  const fields = Object.entries({ ...own, Types: "deb", Suites: suite, Components: "main" });
  const text = fields.map(([name, value]) => `${name}:${value.startsWith("\n") ? "" : " "}${value}\n`).join("");
  return { source: { path: sourcePath, text }, packages, suite };
}

/**
 * The stanzas of one apt source file, in either of apt's two formats, as deb822 fields.
 * @param {TextFile} file
 * @returns {Record<string, string>[]}
 */
export function readStanzas({ path, text }) {
  const lines = text.split(/\r?\n/).filter((line) => !line.startsWith("#"));
  if (path.endsWith(".sources")) return readDeb822(lines);
  return lines.map(readOneLine).filter((stanza) => stanza !== null);
}

/** @param {string[]} lines @returns {Record<string, string>[]} */
function readDeb822(lines) {
  /** @type {Record<string, string>[]} */
  const stanzas = [{}];
  let field = "";
  for (const line of lines) {
    const stanza = /** @type {Record<string, string>} */ (stanzas.at(-1));
    const start = /^([A-Za-z-]+):\s*(.*)$/.exec(line);
    if (line.trim() === "") stanzas.push({});
    // A continuation line: long lists, and keys written into the file itself.
    else if (/^\s/.test(line)) stanza[field] += `\n${line}`;
    else if (start) stanza[(field = start[1] ?? "")] = start[2] ?? "";
  }
  return stanzas.filter((s) => s.Types);
}

/**
 * `deb [signed-by=/a/key] http://mirror/debian bookworm main`
 * @param {string} line
 * @returns {Record<string, string> | null}
 */
function readOneLine(line) {
  const match = /^\s*(deb|deb-src)\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)\s+([^#]+)/.exec(line);
  if (!match) return null;
  const [, types = "", options = "", uris = "", suites = "", components = ""] = match;
  /** @type {Record<string, string>} */
  const stanza = { Types: types, URIs: uris, Suites: suites, Components: components.trim() };
  const names = /** @type {const} */ ({
    "signed-by": "Signed-By",
    arch: "Architectures",
    trusted: "Trusted",
    "check-valid-until": "Check-Valid-Until",
  });
  for (const option of words(options)) {
    const [key = "", value = ""] = option.split("=");
    if (key in names) stanza[names[/** @type {keyof typeof names} */ (key)]] = value.replaceAll(",", " ");
  }
  return stanza;
}

/** @param {DriverPlan} plan @returns {string} to be pasted into a shell: a here-document must not be indented */
function printCommands(plan) {
  const write = plan.source ? [`sudo tee ${plan.source.path} <<'END'`, `${plan.source.text}END`] : [];
  return [...write, "sudo apt-get update", `sudo apt-get ${installArguments(plan).join(" ")}`].join("\n");
}

/** @param {DriverPlan} plan @returns {string[]} */
function installArguments({ suite, packages: names }) {
  return ["install", "-y", "--no-install-recommends", ...(suite ? ["-t", suite] : []), ...names];
}

/** @param {System} system @returns {string | null} the version that apt would install, null when it knows none */
function readCandidate(system) {
  const version = /Candidate: (\S+)/.exec(system.run("apt-cache", ["policy", packages[0] ?? ""]).stdout)?.[1];
  return version === undefined || version === "(none)" ? null : version;
}

/** @param {string} text @returns {Record<string, string>} */
export function parseOsRelease(text) {
  return Object.fromEntries([...text.matchAll(/^(\w+)="?([^"\n]*)"?$/gm)].map(([, key, value]) => [key, value]));
}

/** @param {Record<string, string>} os */
function isDebianLike(os) {
  return [os.ID, ...words(os.ID_LIKE)].some((id) => id === "debian" || id === "ubuntu");
}

/** Debian versions may carry an epoch: `1:25.0.7-2`. @param {string} version */
function majorVersion(version) {
  return Number.parseInt(version.replace(/^\d+:/, ""), 10);
}

/** @param {string | undefined} text @returns {string[]} */
function words(text) {
  return (text ?? "").split(/\s+/).filter((word) => word !== "");
}
