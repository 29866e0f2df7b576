/** One upcycling in a process of its own: prints its seconds, those of all processors, and the most bytes it ever had resident. */
import { parseSize } from "../cli/options.ts";
import { loadModel } from "../runtime/load/load-model.ts";
import { openWorkspace } from "../runtime/load/modules.ts";
import { executeTransfer } from "../runtime/upcycle/execute.ts";
import { planUpcycle } from "../runtime/upcycle/plan.ts";

const [name, out, memory, ...folders] = process.argv.slice(2);
const workspace = openWorkspace();
const upcycle = workspace.standard("upcycle").find((u) => u.item.name.text === name)!;
const begun = performance.now();
const usage = process.cpuUsage();
const sources = await Promise.all(folders.map((folder) => loadModel(folder, workspace)));
const budget = memory === "" ? {} : { budget: parseSize(memory!) };
const plan = await planUpcycle({ upcycle, workspace, sources, ...budget });
const planned = performance.now();
await executeTransfer(plan, out!);
const seconds = (performance.now() - begun) / 1000;
const { user, system } = process.cpuUsage(usage);
await plan.close();
await Promise.all(sources.map((s) => s.checkpoint.close()));
// maxRSS is in KiB.
const resident = process.resourceUsage().maxRSS * 1024;
process.stdout.write(
  JSON.stringify({ seconds, planning: (planned - begun) / 1000, busy: (user + system) / 1e6, resident }),
);
