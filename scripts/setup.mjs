/**
 * Makes a fresh clone ready: packages as the lock file says, the Node they bring, and a GPU adapter that Dawn accepts (on a
 * Linux machine without one, Mesa's software driver). Safe to run any number of times; takes less than a second when
 * nothing is missing. `--check` reports and changes nothing. Runs on Node 18 or newer, before any package is there.
 */
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";
import { installDriver } from "./lavapipe.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));
const ownNode = join(root, "node_modules/node/bin", process.platform === "win32" ? "node.exe" : "node");
const onlyCheck = process.argv.includes("--check");

setUp();

function setUp() {
  if (!hasPackages()) change("packages: npm ci", () => npm("ci"));
  // Where install scripts are switched off, npm leaves the package of Node without its program.
  if (!hasOwnNode()) change("node: npm rebuild", () => npm("rebuild", "node", "--ignore-scripts=false"));
  if (!hasOwnNode()) fail("node_modules has no working Node: run `npm rebuild node --ignore-scripts=false`");
  const adapter = probeAdapter() ?? installAndProbe();
  say(`adapter: ${adapter.description}${adapter.isSoftware ? " (software, runs on the CPU)" : ""}`);
}

/** @returns {{ description: string, isSoftware: boolean }} */
function installAndProbe() {
  // Elsewhere Dawn drives Metal or Direct3D 12, which come with the system.
  if (process.platform !== "linux") fail("Dawn finds no GPU adapter on this machine");
  change("adapter: none found, installing Mesa's software driver", () => {
    const problem = installDriver(machine(), say);
    if (problem) fail(`no GPU adapter that Dawn accepts; ${problem}`);
  });
  return (
    probeAdapter() ??
    fail("the driver is installed, but Dawn still finds no adapter (`vulkaninfo --summary` may say why)")
  );
}

/** Every package of the lock file that this platform needs is there, in its version. */
function hasPackages() {
  const installed = readPackages("node_modules/.package-lock.json");
  return Object.entries(readPackages("package-lock.json")).every(
    ([path, { version, optional }]) => path === "" || optional || installed[path]?.version === version,
  );
}

/** @param {string} lock @returns {Record<string, { version: string, optional?: boolean }>} */
function readPackages(lock) {
  const path = join(root, lock);
  return existsSync(path) ? JSON.parse(readFileSync(path, "utf8")).packages : {};
}

function hasOwnNode() {
  return existsSync(ownNode) && spawnSync(ownNode, ["--version"]).status === 0;
}

/** @returns {{ description: string, isSoftware: boolean } | null} */
function probeAdapter() {
  const { status, stdout } = spawnSync(ownNode, [join(root, "scripts/probe-adapter.mjs")], { encoding: "utf8" });
  // Drivers print warnings of their own; the answer is the last line.
  return status === 0 ? JSON.parse(stdout.trim().split("\n").at(-1) ?? "null") : null;
}

/** @param {...string} args */
function npm(...args) {
  // `npm ci` replaces node_modules, so it must not itself run on the Node in there.
  const path = (process.env.PATH ?? "")
    .split(delimiter)
    .filter((folder) => !folder.startsWith(join(root, "node_modules")));
  const env = { ...process.env, PATH: path.join(delimiter) };
  const { status } = spawnSync("npm", args, { cwd: root, env, stdio: "inherit", shell: process.platform === "win32" });
  if (status !== 0) fail(`\`npm ${args.join(" ")}\` failed`);
}

/** @returns {import("./lavapipe.mjs").System} */
function machine() {
  /** @param {string} command @param {string[]} args */
  const run = (command, args) => {
    const { status, stdout } = spawnSync(command, args, { encoding: "utf8" });
    return { status: status ?? 1, stdout: stdout ?? "" };
  };
  const isRoot = process.getuid?.() === 0;
  const mayBecomeRoot = isRoot || run("sudo", ["-n", "true"]).status === 0;
  /** @param {string} command @param {string[]} args @param {string} [input] */
  const asRoot = (command, args, input) => {
    const line = ["env", "DEBIAN_FRONTEND=noninteractive", command, ...args];
    const [first = "", ...rest] = isRoot ? line : ["sudo", "-n", ...line];
    const { status } = spawnSync(first, rest, { input: input ?? "", stdio: ["pipe", "ignore", "inherit"] });
    return { status: status ?? 1, stdout: "" };
  };
  return {
    run,
    runAsRoot: mayBecomeRoot ? asRoot : null,
    writeFile: ({ path, text }) => asRoot("tee", [path], text).status === 0,
    readOsRelease: () => readFileSync("/etc/os-release", "utf8"),
    readSources: () =>
      ["/etc/apt/sources.list", ...listFolder("/etc/apt/sources.list.d")]
        .filter((path) => /\.(list|sources)$/.test(path) && existsSync(path))
        .map((path) => ({ path, text: readFileSync(path, "utf8") })),
  };
}

/** @param {string} folder @returns {string[]} */
function listFolder(folder) {
  return existsSync(folder) ? readdirSync(folder).map((name) => join(folder, name)) : [];
}

/** @param {string} what @param {() => void} act */
function change(what, act) {
  if (onlyCheck) fail(`missing: ${what} (run \`npm run setup\`)`);
  say(what);
  act();
}

/** @param {string} line */
function say(line) {
  console.log(`setup: ${line}`);
}

/** @param {string} message @returns {never} */
function fail(message) {
  console.error(`setup: ${message}`);
  process.exit(1);
}
