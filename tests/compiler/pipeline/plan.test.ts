/** What a plan looks like: how many dispatches a layer takes, what it shares, what the verifier finds. No device needed. */
import { describe, expect, test } from "vitest";
import { Graph } from "../../../compiler/graph/node.ts";
import { parseProgram } from "../../../compiler/graph/parse.ts";
import { DEVICE_KINDS } from "../../../compiler/plan/facts.ts";
import { verifyPlan } from "../../../compiler/plan/verify.ts";
import { NotCausal, compileProgram, passes } from "../../../compiler/pipeline.ts";
import type { DeviceFacts, Dispatch, Entry, Plan } from "../../../compiler/plan/plan.ts";
import { likeGpu } from "../../support/facts.ts";
import type { ModelShape } from "../../support/models.ts";
import { buildModel, tiny } from "../../support/models.ts";

const device: DeviceFacts = {
  ...DEVICE_KINDS.software,
  subgroup: { min: 8, max: 8 },
  f16: false,
  maxBinding: 1 << 27,
  maxBuffer: 2 ** 32,
  workgroupMemory: 32768,
  maxInvocations: 1024,
  maxStorageBuffers: 16,
  maxWorkgroups: 65535,
};
const mixture = { ...tiny, D: 64, F: 48, experts: { N: 6, K: 2, soft: false } };

describe("a mixture layer", () => {
  test("takes three dispatches after attention when decoding, five when prefilling, and attention five", () => {
    const plan = compile(mixture);
    const count = (entry: string): readonly string[] =>
      layerOf(plan, entry).map((d) => d.label.replace(/blocks\[#\]\.?/, "").trim());
    const attention = ["norm1 sum·rsqrt·mul", "attn q·k·v", "append", "attend0", "attn.o"];
    expect(count("logits.decode")).toEqual([
      ...attention,
      "norm2·ffn.pick rsqrt·mul·div",
      "ffn.experts gate·up",
      "ffn.experts.down combined",
    ]);
    expect(count("logits.prefill")).toEqual([
      ...attention,
      "norm2·ffn.pick rsqrt·mul·div",
      "group choices by bank",
      "ffn.experts gate·up",
      "ffn.experts.down",
      "sum·add",
    ]);
  });

  test("has the same kernels whatever the number of layers", () => {
    const [few, many] = [compile({ ...mixture, L: 1 }), compile({ ...mixture, L: 40 })];
    expect(many.modules).toEqual(few.modules);
    expect(many.buffers).toEqual(few.buffers);
    expect(many.states.length).toBe(40 * few.states.length);
    expect(many.entries[0]!.steps.length).toBe(few.entries[0]!.steps.length);
  });

  test("leaves its result where the next layer reads it, without a copy", () => {
    expect(layerOf(compile(mixture), "logits.prefill").filter((d) => d.label === "copy")).toEqual([]);
  });
});

test("a soft mixture is two contractions beside its router", () => {
  const labels = layerOf(compile({ ...mixture, experts: { N: 4, K: 1, soft: true } }), "logits.decode").map(
    (d) => d.label,
  );
  expect(labels.filter((l) => l.includes("experts"))).toEqual([
    "blocks[#].ffn.experts gate·up",
    "blocks[#].ffn.experts.down",
  ]);
});

test("a weight over the binding limit is cut into parts that keep to it", () => {
  const plan = compile(mixture, { ...device, maxBinding: 20000 });
  const experts = plan.parameters.find((p) => p.path === "blocks[0].ffn.experts.up.w")!;
  expect(experts.parts.length).toBeGreaterThan(1);
  expect(experts.parts.reduce((n, p) => n + p.count, 0)).toBe(6);
  expect(plan.parameters.flatMap((p) => p.parts).every((p) => p.bytes <= 20000)).toBe(true);
});

test("an eight-times-seven-billion mixture fits common limits", () => {
  const plan = compile(
    { ...tiny, V: 32000, L: 32, D: 4096, F: 14336, G: 8, R: 4, C: 128, experts: { N: 8, K: 2, soft: false } },
    { ...device, ...likeGpu, subgroup: null, maxStorageBuffers: 10 },
  );
  expect(verifyPlan(plan)).toEqual([]);
  expect(plan.parameters.length).toBe(32 * 10 + 3);
});

test("temporaries share memory", () => {
  const temporaries = compile(mixture).buffers.filter((b) => b.share !== null);
  expect(new Set(temporaries.map((b) => b.share)).size).toBeLessThan(temporaries.length / 2);
});

test("passes are dumped by name, as text that parses", () => {
  const seen: string[] = [];
  compileProgram(buildModel(tiny), {
    ...options(device),
    dump: (after, text) => (seen.push(after), void parseProgram(text, new Graph())),
  });
  expect(seen).toEqual(passes.map((p) => p.name));
});

test("a program that looks ahead is refused at the op", () => {
  const program = parseProgram(
    `main f(x: f32[T, D=8]) {\n  %1 = sum(x) {axes: ["T"]} : f32[D=8]\n  %2 = mul(x, %1) : f32[T, D=8]\n  result logits = %2\n}`,
  );
  const peeks = (): unknown => {
    try {
      return compileProgram(program, options(device));
    } catch (error) {
      return error instanceof NotCausal ? error.peeks.map((p) => p.op) : error;
    }
  };
  expect(peeks()).toEqual(["sum"]);
});

describe("the verifier finds", () => {
  const plan = compile(mixture);
  const broken = (edit: (d: Dispatch) => Dispatch, label: string): Plan => ({
    ...plan,
    entries: plan.entries.map((entry): Entry => ({
      ...entry,
      steps: entry.steps.map((s) =>
        s.kind === "repeat" ? { ...s, steps: s.steps.map((d) => (d.label === label ? edit(d) : d)) } : s,
      ),
    })),
  });

  test("a buffer that is read before it is written", () => {
    const without = { ...plan, entries: plan.entries.map((e) => ({ ...e, steps: e.steps.slice(1) })) };
    expect(verifyPlan(without)[0]).toMatch(/reads buffer arg0.* before it is written/);
  });

  test("a binding to nothing, and one bound twice where it is written", () => {
    const down = "blocks[#].attn.o";
    const nothing = broken(
      (d) => ({ ...d, bindings: d.bindings.map((b) => (b.kind === "parameter" ? { ...b, path: "gone" } : b)) }),
      down,
    );
    expect(verifyPlan(nothing).join()).toMatch(/binds .*gone.*which does not exist/);
    const target = layerOf(plan, "logits.prefill")
      .find((d) => d.label === down)!
      .bindings.at(-1)!;
    const twice = broken((d) => ({ ...d, bindings: d.bindings.map((b) => (b.kind === "buffer" ? target : b)) }), down);
    expect(verifyPlan(twice).join()).toMatch(/which it binds a second time/);
  });

  test("a limit of the device that is passed", () => {
    expect(verifyPlan({ ...plan, device: { ...device, maxStorageBuffers: 3 } }).join()).toMatch(
      /more than 3 storage buffers/,
    );
  });

  test("memory that another buffer of its class holds by now", () => {
    const shared = {
      ...plan,
      buffers: plan.buffers.map((b) => (b.role === "temporary" && b.share !== null ? { ...b, share: "one" } : b)),
    };
    expect(verifyPlan(shared).join()).toMatch(/one now holds|binds a second time/);
  });
});

function options(facts: DeviceFacts) {
  const regimes = ["prefill", "decode"] as const;
  return {
    model: "test",
    device: facts,
    storage: () => "f32" as const,
    entries: [{ output: "logits", regimes }],
    verify: true,
  };
}

function compile(shape: ModelShape, facts: DeviceFacts = device): Plan {
  return compileProgram(buildModel(shape), options(facts));
}

function layerOf(plan: Plan, entry: string): readonly Dispatch[] {
  return plan.entries.find((e) => e.name === entry)!.steps.flatMap((s) => (s.kind === "repeat" ? s.steps : []));
}
