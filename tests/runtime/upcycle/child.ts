/** A whole upcycling in a process of its own: prints the most bytes it ever had resident, or is killed half-way. */
import { executeTransfer } from "../../../runtime/upcycle/execute.ts";
import { CHECKPOINTS, SET_ROUTER, withPlan } from "./support.ts";

const [out, mode] = process.argv.slice(2);
await withPlan("btx", CHECKPOINTS, { overrides: [SET_ROUTER], dtype: "f32" }, (plan) =>
  executeTransfer(plan, out!, {
    onProgress: (done, total) => {
      if (mode !== "kill" || done < total / 2) return;
      process.stdout.write("killing\n");
      process.kill(process.pid, "SIGTERM");
    },
  }),
);
// maxRSS is in KiB.
process.stdout.write(`${process.resourceUsage().maxRSS * 1024}\n`);
