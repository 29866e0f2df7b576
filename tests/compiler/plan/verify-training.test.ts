/** What the verifier refuses of a plan that trains: each of its rules, broken once. */
import { expect, test } from "vitest";
import type { Buffer, Dispatch, Entry, Plan } from "../../../compiler/plan/plan.ts";
import { verifyPlan } from "../../../compiler/plan/verify.ts";
import { buffer, dispatch, kept, modules, SIZE, trainPlan as plan, w } from "../../support/train-plan.ts";

test("the plan is sound", () => {
  expect(verifyPlan(plan)).toEqual([]);
});

const [micro, update] = plan.entries as [Plan["entries"][number], Plan["entries"][number]];
const [x, first, ...others] = plan.buffers as [Buffer, Buffer, ...Buffer[]];
const [rate] = plan.scalars as [Plan["scalars"][number]];
const step = { kind: "step" } as const;
const w0 = { kind: "parameter", path: "blocks[0].w", part: 0 } as const;
const loose = (phase: Entry["phase"], only: Dispatch): Entry => ({ ...micro, name: "loose", phase, steps: [only] });
/** The plan with something kept that an entry writes. */
const more = (m: Buffer): Partial<Plan> => ({
  buffers: [...plan.buffers, m],
  entries: [micro, update, loose("micro", dispatch("visit", [w0, buffer(m.id)]))],
});
const typed = (type: Buffer["type"], initial: number): Partial<Plan> =>
  more({ ...kept("m", "run", initial, null), type });

test("a plan for gradients alone is sound", () => {
  expect(verifyPlan({ ...plan, entries: [micro] })).toEqual([]);
});

test.each<readonly [what: string, wrong: Partial<Plan>, said: RegExp]>([
  ["a size in a symbol that is not declared", { symbols: ["Q"] }, /x has a size in T, which the plan does not declare/],
  ["a symbol twice", { symbols: ["T", "T"] }, /symbol T is listed twice/],
  [
    "an input in 16 bits",
    { buffers: [{ ...x, store: "f16" }] },
    /buffer x is in f16, and only numbers f32 between kernels/,
  ],
  ["two scalars of one name", { scalars: [rate, { id: "rate", expr: 1 }] }, /scalar rate is listed twice/],
  ["two entries of one name", { entries: [micro, update, { ...micro, steps: [] }] }, /entry micro is listed twice/],
  ["an index in a name", { buffers: [...plan.buffers, { ...x, id: "y[#]" }] }, /buffer y\[#\] has # in its name/],
  [
    "scalars bound as storage",
    { modules: modules.map((m) => (m.id === "descend" ? { ...m, bindings: ["read", "read", "write"] } : m)) },
    /binds .*scalars.* as read/,
  ],
  [
    "a buffer bound as a uniform",
    { modules: modules.map((m) => (m.id === "accumulate" ? { ...m, bindings: ["uniform", "read", "write"] } : m)) },
    /binds .*"x".* as uniform/,
  ],
  [
    "a step without a symbol",
    { symbols: [], entries: [micro, update, loose("infer", dispatch("descend", [step, w0, buffer("visits")]))] },
    /binds .*step.*does not exist/,
  ],
  ["a scalar of what no host knows", { scalars: [{ id: "rate", expr: "loss" }] }, /rate is made of loss/],
  ["scalars that are not there", { scalars: [] }, /binds .*scalars.*does not exist/],
  ["a parameter written while gradients are made", { entries: [micro, { ...update, phase: "micro" }] }, /no update/],
  [
    "a parameter that the update does not write",
    { entries: [micro, { ...update, steps: [] }] },
    /blocks\[0\]\.w.* is trained, and updates write it 0 times/,
  ],
  [
    "a parameter written twice",
    { entries: [micro, { ...update, steps: [...update.steps, ...update.steps] }] },
    /write it 2 times/,
  ],
  [
    "two updates",
    { entries: [micro, update, { ...update, name: "again", steps: [] }] },
    /entries update and again are updates, and one ends an optimizer step/,
  ],
  ["kept, and never written", { buffers: [...plan.buffers, kept("m", "run", 0, null)] }, /m is kept, and no entry/],
  [
    "kept of nothing",
    { buffers: [x, kept(first.id, "step", 0, "head.w"), ...others] },
    /of head\.w, which is no param/,
  ],
  ["kept in shared memory", { buffers: [x, { ...first, share: "a" }, ...others] }, /kept, and shares its memory/],
  ["kept for a step's size", { buffers: [x, { ...first, elements: "T" }, ...others] }, /its size is one of a step/],
  [
    "kept, and written by an entry that does not train",
    { entries: [micro, update, loose("infer", dispatch("visit", [w0, buffer("visits")]))] },
    /visits is kept, and loose writes it, which does not train/,
  ],
  ["half of a whole number to begin at", typed("u32", 0.5), /m is u32, and begins at 0\.5/],
  ["a u32 below zero to begin at", typed("u32", -1), /m is u32, and begins at -1/],
  ["an i32 too large to begin at", typed("i32", 2 ** 31), /m is i32, and begins at 2147483648/],
  ["an f32 too large to begin at", typed("f32", 1e39), /m is f32, and begins at 1e\+39/],
  [
    "kept of a parameter, and of another size",
    { buffers: [x, { ...first, elements: SIZE - 1 }, ...others] },
    /grad\.blocks\[0\]\.w has 3 elements, which is no size of blocks\[0\]\.w/,
  ],
  [
    "an update of a parameter of which nothing is kept",
    { buffers: [x, { ...first, kept: { ...first.kept!, of: null } }, ...others] },
    /parameter blocks\[0\]\.w is written by an update, and nothing is kept of it/,
  ],
  [
    "an update of a parameter of 16 bits",
    { parameters: plan.parameters.map((p) => ({ ...p, storage: "bf16" })) },
    /parameter blocks\[0\]\.w is written by an update, and stored as bf16/,
  ],
  ["kept without saying how", { buffers: [x, { ...first, kept: null }, ...others] }, /has the role kept, and nothing/],
  [
    "an index outside of a repeat",
    { entries: [micro, update, loose("micro", dispatch("visit", [w, buffer("visits")]))] },
    /binds .*blocks\[#\].*does not exist/,
  ],
])("a plan is refused with %s", (_, wrong, said) => {
  expect(verifyPlan({ ...plan, ...wrong }).join("\n")).toMatch(said);
});

test("what is kept of a parameter is as large as it lies in f32, or has a number for each index of some of its axes", () => {
  const path = "experts.w";
  const experts: Plan["parameters"][number] = {
    path,
    axes: [
      { name: "N", size: 2 },
      { name: "D", size: 6 },
      { name: "F", size: 5 },
    ],
    storage: "f32",
    layout: { kind: "matrix", bank: ["N"], k: ["D"], n: ["F"], split: "bank" },
    parts: [0, 1].map((start) => ({ start, count: 1, bytes: 8 * 8 * 4 })),
  };
  const said = (elements: number): readonly string[] => {
    const m = { ...kept("m", "run", 0, path), elements };
    return verifyPlan({ ...plan, ...more(m), parameters: [...plan.parameters, experts] }).filter((text) =>
      text.includes("no size of"),
    );
  };
  // With D and F rounded up to 8; without; of a part; of one expert, row, column; one number in all.
  for (const elements of [2 * 8 * 8, 2 * 6 * 5, 8 * 8, 2, 6, 5, 2 * 6, 2 * 5, 6 * 5, 1])
    expect(said(elements)).toEqual([]);
  for (const elements of [0, 3, 59, 2 * 6 * 5 * 2, 36]) expect(said(elements)).toHaveLength(1);
});
