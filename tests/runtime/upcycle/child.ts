/**
 * A whole upcycling in a process of its own: prints what an earlier run left and the most bytes it ever had resident, or kills
 * itself when so many units of work are done.
 */
import { executeTransfer } from "../../../runtime/upcycle/execute.ts";
import { CHECKPOINTS, SET_ROUTER, withPlan } from "./support.ts";

const [out, units = "0", budget = "0", sources = CHECKPOINTS.join(",")] = process.argv.slice(2);
let left = Number(units);
let earlier: number | null = null;
const request = { overrides: [SET_ROUTER], dtype: "f32" as const };
const limits = budget === "0" ? {} : { budget: Number(budget) };
await withPlan("btx", sources.split(","), { ...request, ...limits }, (plan) =>
  executeTransfer(plan, out!, {
    onEarlierRun: (bytes) => (earlier = bytes),
    onProgress: () => {
      if (--left === 0) process.kill(process.pid, "SIGKILL");
    },
  }),
);
// maxRSS is in KiB.
process.stdout.write(JSON.stringify({ earlier, resident: process.resourceUsage().maxRSS * 1024 }));
