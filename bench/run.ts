/**
 * `npm run bench`: what moec and others do with an operator, a prompt and the tokens after it.
 * Options: `--engines a,b` (parts of names; also brings those that are slow to prepare), `--tasks a,b`, `--rounds N` (5),
 * `--out FOLDER` (out/bench), `--no-peers` (measure only what needs no installation).
 */
import { parseArgs } from "node:util";
import { type EngineEntry, engineEntries, ROOFLINE } from "./engines.ts";
import { installPeers } from "./peers.ts";
import { runRounds } from "./rounds.ts";

const { values: options } = parseArgs({
  options: {
    engines: { type: "string" },
    tasks: { type: "string" },
    rounds: { type: "string", default: "5" },
    out: { type: "string", default: "out/bench" },
    "no-peers": { type: "boolean", default: false },
  },
});

const engines = chooseEngines();
if (engines.some((e) => e.isPeer)) installPeers("onnxruntime-node");
const only = options.tasks?.split(",");
await runRounds({
  engines,
  ...(only === undefined ? {} : { only }),
  ...{ rounds: Number(options.rounds), ours: "moec (f32)", out: options.out, name: "bench" },
});
process.exit(0);

function chooseEngines(): EngineEntry[] {
  const parts = options.engines?.split(",");
  return engineEntries.filter((entry) => {
    if (options["no-peers"] && entry.isPeer) return false;
    if (entry.name === ROOFLINE) return true;
    return parts ? parts.some((part) => entry.name.includes(part)) : !entry.isSlowToPrepare;
  });
}
