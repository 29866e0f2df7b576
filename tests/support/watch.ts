/** What a test does with its time, and when that is too little or too much: data in, a reason to end it out. */
import { readdirSync, readFileSync } from "node:fs";

/** CPU time of a process and of all that it started, those that have ended among them. */
export interface Use {
  readonly seconds: number;
  /** The processes that it started and that run; null where nobody can tell. */
  readonly others: readonly number[] | null;
}

/** A wait for the device polls with less than this share of a core; a process that is starved by a hundred others still has more. */
const IDLE_SHARE = 0.01;
/** The longest test uses a tenth. */
const MOST_SECONDS = 1200;

/** One test, looked at every `tick` milliseconds. */
export class Watch {
  readonly #tick: number;
  readonly #mostIdle: number;
  #first: number | null = null;
  #last = 0;
  #idle = 0;

  constructor(tick: number, mostIdleSeconds: number) {
    this.#tick = tick / 1000;
    this.#mostIdle = mostIdleSeconds;
  }

  /** Why the test has to end; null while it may go on. Looks are counted, not time: a thread that was not run did not look. */
  look({ seconds, others }: Use): string | null {
    this.#first ??= seconds;
    const more = seconds - this.#last;
    this.#last = seconds;
    this.#idle = others !== null && more >= 0 && more < IDLE_SHARE * this.#tick ? this.#idle + 1 : 0;
    const idle = this.#idle * this.#tick;
    if (idle >= this.#mostIdle) return `it waits for something that does not come: no CPU time for ${idle} seconds`;
    const used = seconds - this.#first;
    return used <= MOST_SECONDS ? null : `it does not end: ${Math.round(used)} seconds of CPU time`;
  }
}

const TICKS_PER_SECOND = 100;

/** Reads /proc. */
export function useOfTree(root: number): Use {
  const all = new Map(
    readdirSync("/proc").flatMap((name) => {
      const stat = /^\d+$/.test(name) ? readStat(name) : null;
      return stat === null ? [] : [[Number(name), stat] as const];
    }),
  );
  const children = Map.groupBy(all.keys(), (pid) => all.get(pid)!.parent);
  const others: number[] = [];
  const visit = (pid: number): number => {
    const below = children.get(pid) ?? [];
    others.push(...below);
    return (all.get(pid)?.seconds ?? 0) + below.reduce((sum, child) => sum + visit(child), 0);
  };
  return { seconds: visit(root), others };
}

function readStat(pid: string): { readonly parent: number; readonly seconds: number } | null {
  try {
    // The name in parentheses may hold spaces; what follows is numbers.
    const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ").at(-1)!.split(" ");
    const ticks = [11, 12, 13, 14].reduce((sum, i) => sum + Number(fields[i]), 0);
    return { parent: Number(fields[1]), seconds: ticks / TICKS_PER_SECOND };
  } catch {
    return null;
  }
}
