/** The op table: one row per op, total by type, so that an op without a row does not compile. */
import type { OpName } from "../graph/attrs.ts";
import { attention } from "./attend.ts";
import { attentionGradient } from "./attend-grad.ts";
import { call } from "./call.ts";
import { compare } from "./compare.ts";
import { concat } from "./concat.ts";
import { contraction } from "./contraction.ts";
import type { Rows } from "./define.ts";
import { elementwise } from "./elementwise.ts";
import { delta } from "./delta.ts";
import { gather } from "./gather.ts";
import { pool } from "./pool.ts";
import { reduce } from "./reduce.ts";
import { recur } from "./recur.ts";
import { row } from "./row.ts";
import { source } from "./source.ts";
import { spread } from "./spread.ts";
import { view } from "./view.ts";

export const ops: Rows<OpName> = {
  ...source,
  ...elementwise,
  ...compare,
  ...reduce,
  ...pool,
  ...view,
  concat,
  ...contraction,
  ...gather,
  ...spread,
  ...row,
  ...recur,
  ...delta,
  ...attention,
  ...attentionGradient,
  ...call,
};
