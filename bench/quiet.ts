/**
 * Is the machine ours? Two signs, since each alone can be fooled: how idle the processors are while the benchmark does
 * nothing, and a roofline that should always read the same.
 */
import { cpus } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";

/** Share of all processors that was idle over a third of a second, 0 to 1. */
export async function readIdleShare(): Promise<number> {
  const before = readTimes();
  await sleep(300);
  const after = readTimes();
  const total = after.total - before.total;
  return total === 0 ? 1 : (after.idle - before.idle) / total;
}

/** A round counts as quiet when it was so at both ends. `readings` are the roofline's, `best` the highest of the whole run. */
export function isQuiet(idleShares: readonly number[], readings: readonly number[], best: number): boolean {
  return idleShares.every((share) => share >= 0.9) && readings.every((reading) => reading >= 0.85 * best);
}

function readTimes(): { idle: number; total: number } {
  const times = cpus().map((cpu) => cpu.times);
  const total = times.reduce((sum, t) => sum + t.user + t.nice + t.sys + t.idle + t.irq, 0);
  return { idle: times.reduce((sum, t) => sum + t.idle, 0), total };
}
