/** How many arguments without a name a builtin takes at most: one too many is a mistake, not something to leave out. */
import { calledScalars } from "../../graph/scalar.ts";

export const MOST_ARGUMENTS: Readonly<Record<string, number>> = {
  ...{ iota: 0, position: 0, length: 0, size: 0 },
  ...Object.fromEntries(([1, 2] as const).flatMap((n) => calledScalars(n).map((name) => [name, n]))),
  ...{ ceil: 1, f32: 1, u32: 1, i32: 1 },
  ...{ sum: 1, mean: 1, topk: 1, ranks: 1, cumsum: 1, values: 1, split: 1, merge: 1, broadcast: 1 },
  ...{ normal: 1, uniform: 1, constant: 1 },
  ...{ dot: 2, take: 2, delay: 2, scan: 2, conv: 2, slice: 2, roll: 2, route: 2 },
  ...{ contains: 2, without: 2, range: 3, select: 3, attend: 4, delta_rule: 4 },
};
