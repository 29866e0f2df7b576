#!/usr/bin/env node
/**
 * The `moec` command. In the published package it loads the built `dist/cli/main.js`; in a checkout it runs `cli/main.ts`
 * itself, for which Node must strip types (22.18 or newer). A checkout brings such a Node as a devDependency, so an older
 * Node on the PATH only starts that one. Plain JavaScript that any maintained Node can read, since it must be able to
 * explain itself to an old one.
 */
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import module from "node:module";
import { fileURLToPath } from "node:url";

const source = new URL("./main.ts", import.meta.url);
const built = new URL("../dist/cli/main.js", import.meta.url);

// Halves the start: compiled code is kept in the system's folder for temporary files.
if (isAtLeast(22, 8)) module.enableCompileCache();

if (!existsSync(source)) {
  if (isAtLeast(22, 18)) await import(built.href);
  else refuse("moec needs Node 22.18 or newer");
} else if (isAtLeast(22, 18)) {
  await import(source.href);
} else {
  restartWithOwnNode();
}

/** Runs this same command under the Node of `node_modules`, and ends as it ended. */
function restartWithOwnNode() {
  const name = process.platform === "win32" ? "node.exe" : "node";
  const node = fileURLToPath(new URL(`../node_modules/node/bin/${name}`, import.meta.url));
  if (!existsSync(node)) refuse("a checkout of moec needs Node 22.18 or newer: run `npm run setup`, which brings one");
  const args = [fileURLToPath(import.meta.url), ...process.argv.slice(2)];
  const { status, signal } = spawnSync(node, args, { stdio: "inherit" });
  if (signal) process.kill(process.pid, signal);
  process.exit(status ?? 1);
}

/** @param {number} major @param {number} minor */
function isAtLeast(major, minor) {
  const [have = 0, haveMinor = 0] = process.versions.node.split(".").map(Number);
  return have > major || (have === major && haveMinor >= minor);
}

/** @param {string} message @returns {never} */
function refuse(message) {
  console.error(`error: ${message} (this is Node ${process.versions.node})`);
  process.exit(1);
}
