/**
 * Polite waiting for Dawn. While one of its promises is pending, Dawn for Node polls in a `setImmediate` loop and burns
 * the core that a software adapter computes on. Sleeping within the same queue of immediates gives that core back.
 * One loop serves all waits, so that waiting for forty pipelines at once sleeps no longer than waiting for one.
 * Limits: a nap blocks this thread, timers included, for at most `LONGEST_NAP`, and beyond a second of waiting for a thousandth of
 * what was waited so far, up to ten milliseconds: compiling shaders on a busy machine takes minutes.
 */

/** Milliseconds. Round trips shorter than `SPIN` see no added latency; the naps then add about a tenth to any wait. */
const SPIN = 0.15;
const SHORTEST_NAP = 0.03;
const LONGEST_NAP = 1;
const NAP_SHARE = 0.1;
const LONG_NAP_SHARE = 0.001;
const LONGEST_LONG_NAP = 10;

let pending = 0;
let since = 0;
let looping = false;
const never = new Int32Array(new SharedArrayBuffer(4));

/** The value or the error of a promise that Dawn settles, awaited without burning a core. */
export async function settle<V>(promise: Promise<V>): Promise<V> {
  pending++;
  since = performance.now();
  if (!looping) {
    looping = true;
    setImmediate(tick);
  }
  try {
    return await promise;
  } finally {
    pending--;
    since = performance.now();
  }
}

function tick(): void {
  if (pending === 0) {
    looping = false;
    return;
  }
  const waited = performance.now() - since;
  // Nothing ever wakes this: `Atomics.wait` is the one way to sleep below a millisecond in Node.
  if (waited > SPIN) Atomics.wait(never, 0, 0, napAfter(waited));
  setImmediate(tick);
}

/** Milliseconds to sleep after so many of waiting. */
export function napAfter(waited: number): number {
  const short = Math.min(LONGEST_NAP, Math.max(SHORTEST_NAP, (waited - SPIN) * NAP_SHARE));
  return Math.max(short, Math.min(LONGEST_LONG_NAP, waited * LONG_NAP_SHARE));
}
