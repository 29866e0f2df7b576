/**
 * A linear recurrence h_t = a_t h_{t-1} + b_t: an invocation per channel. In reverse a sequence's tokens of the step are walked from their
 * end, without a state. With many tokens on many cores the tokens of a sequence are cut
 * into segments, one to an invocation: each is folded to its a and b, what goes before a segment follows from those of the earlier
 * ones, and then it is run again from there. The result is that of the loop but for rounding.
 */
import type { Node } from "../../graph/node.ts";
import type { Axis } from "../../graph/type.ts";
import { TIME } from "../../graph/type.ts";
import { tuning } from "../kernel/tuning.ts";
import { KernelWriter } from "../kernel/writer.ts";
import { stateOf } from "../../ops/states.ts";
import type { RecurrenceKernel } from "../schedule/kernel.ts";
import type { LowerContext, Lowered } from "./context.ts";
import { Emitter } from "./emit.ts";
import type { Index } from "./indexing.ts";
import { flatten, unflatten } from "./indexing.ts";
import { count } from "./place.ts";
import { emitStore } from "./store.ts";

const { invocations: LANES, segments: SEGMENTS } = tuning.scan;

export function lowerScan(kernel: RecurrenceKernel, scan: Node<"scan">, id: string, context: LowerContext): Lowered {
  const memory = context.memoryFor(kernel);
  const w = new KernelWriter();
  const { pair, reverse } = scan.attrs;
  const { dtype } = scan.type;
  const row = scan.type.axes.filter((a) => a.name !== TIME);
  const channels = row.filter((a) => a.name !== pair);
  const width = count(channels);
  const segments = context.regime === "prefill" && context.device.manyCores ? SEGMENTS : 1;
  const columns = LANES / segments;
  const e = new Emitter(w, memory, (node, index) =>
    node !== scan ? null : pair === null || index.get(pair) === "0u" ? "re" : "im",
  );
  const held = reverse ? null : w.bind({ kind: "state", id: stateOf(scan, "h").id }, `array<${dtype}>`, "write");
  const runs = w.bind(memory.builtin("runs"), "array<u32>", "read");
  const parts = pair === null ? [null] : ["0u", "1u"];
  const at = (token: string | null, part: string | null): Index =>
    new Map([
      ...(token === null ? [] : [[TIME, token] as const]),
      ...[...unflatten(channels, "channel", w.size)].map(([label, text]): [string, string] => [label, e.name(text)]),
      ...(pair === null || part === null ? [] : [[pair, part] as const]),
    ]);
  const place = (part: string | null): string =>
    `${held}[sequence * ${count(row)}u + ${flatten(row, at(null, part), w.size)}]`;
  /** Statements that go on from `re`, `im` by one token; with `fold`, a product of all a beside them. */
  const advance = (token: string, fold: boolean): void => {
    const [a, b] = scan.inputs as [Node, Node];
    const values = parts.map((part) => ({
      a: e.value(a, at(token, part), null),
      b: e.value(b, at(token, part), null),
    }));
    const [x, y] = values;
    if (pair === null) {
      e.line(`re = ${x!.a} * re + ${x!.b};`);
      if (fold) e.line(`whole_re *= ${x!.a};`);
      return;
    }
    const next = (re: string, im: string): string =>
      `vec2<f32>(${x!.a} * ${re} - ${y!.a} * ${im}, ${x!.a} * ${im} + ${y!.a} * ${re})`;
    const step = e.name(`${next("re", "im")} + vec2<f32>(${x!.b}, ${y!.b})`);
    e.line(`re = ${step}.x; im = ${step}.y;`);
    if (!fold) return;
    const product = e.name(next("whole_re", "whole_im"));
    e.line(`whole_re = ${product}.x; whole_im = ${product}.y;`);
  };
  const loop = (body: (token: string) => void): string => {
    const inner = e.block(() => body("token"));
    const from = reverse ? "tokens - 1u - i" : "i";
    return `for (var i = first; i < until; i++) {\nlet token = start + ${from};\n${inner}\n}`;
  };

  const blocks = Math.ceil(width / columns);
  e.line(`let sequence = group / ${blocks}u;
if (sequence >= ${w.step("S")}) { return; }
let start = ${runs}[sequence * 2u];
let tokens = ${runs}[sequence * 2u + 1u];
if (tokens == 0u) { return; }
let channel = min(group % ${blocks}u * ${columns}u + lane % ${columns}u, ${width - 1}u);
let mine = group % ${blocks}u * ${columns}u + lane % ${columns}u < ${width}u;`);
  const zero = `${dtype}()`;
  if (segments === 1) e.line("let first = 0u;\nlet until = tokens;");
  else
    e.line(`let segment = lane / ${columns}u;
let share = (tokens + ${segments - 1}u) / ${segments}u;
let first = min(segment * share, tokens);
let until = min(first + share, tokens);`);
  const initial = parts.map((part) => (reverse ? zero : place(part)));
  if (segments === 1) e.line(`var re = ${initial[0]};\n${pair === null ? "" : `var im = ${initial[1]};`}`);
  else {
    for (const name of ["whole_re", "whole_im", "sum_re", "sum_im"])
      w.global(name, `var<workgroup> ${name}s: array<${dtype}, ${LANES}>;`);
    e.line(`var re = ${zero};\nvar im = ${zero};\nvar whole_re = ${dtype}(1);\nvar whole_im = ${zero};`);
    e.line(loop((token) => advance(token, true)));
    e.line(`whole_res[lane] = whole_re; whole_ims[lane] = whole_im; sum_res[lane] = re; sum_ims[lane] = im;
workgroupBarrier();
re = ${initial[0]};
im = ${initial[1] ?? zero};
for (var s = 0u; s < segment; s++) {
let from_lane = s * ${columns}u + lane % ${columns}u;
let before = re;
re = whole_res[from_lane] * re${pair === null ? "" : " - whole_ims[from_lane] * im"} + sum_res[from_lane];
${pair === null ? "" : "im = whole_res[from_lane] * im + whole_ims[from_lane] * before + sum_ims[from_lane];"}
}
workgroupBarrier();`);
  }
  e.line(
    loop((token) => {
      advance(token, false);
      e.line(
        `if (mine) {\n${e.block(() => {
          for (const store of kernel.stores)
            for (const part of store.node.type.axes.some((a: Axis) => a.name === pair) ? parts : [null]) {
              const index = at(token, part);
              emitStore(e, context, memory, store, index, null, e.value(store.node, index, null));
            }
        })}\n}`,
      );
    }),
  );
  const last = segments === 1 ? "mine" : "mine && until == tokens && first < until";
  if (!reverse)
    e.line(`if (${last}) {\n${parts.map((part, i) => `${place(part)} = ${i === 0 ? "re" : "im"};`).join("\n")}\n}`);
  const module = w.finish(id, [LANES, 1, 1], e.flush());
  return { module, bindings: w.bindings, grid: [["*", "S", blocks], 1, 1], constants: w.constants };
}
