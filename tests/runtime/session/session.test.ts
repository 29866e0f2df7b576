/** Sessions on the adapter that is there, with a plan whose every result is known exactly. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { openDevice } from "../../../runtime/dawn/open-device.ts";
import type { Device } from "../../../runtime/gpu/device.ts";
import type { GeneratedToken, GenerateOptions } from "../../../runtime/session/generate.ts";
import { openSession, type Session, type SessionOptions } from "../../../runtime/session/session.ts";
import { expectedLogits, source, tinyPlan, VOCAB } from "../../support/tiny-plan.ts";

let device: Device;
beforeAll(async () => void (device = await openDevice()));
afterAll(() => device.close());

async function withSession<V>(options: Partial<SessionOptions>, use: (session: Session) => Promise<V>): Promise<V> {
  const session = await openSession({ plan: tinyPlan(device.facts), device, source, capacity: 1024, ...options });
  try {
    return await use(session);
  } finally {
    session.close();
  }
}

const sequence = (length: number, seed = 1): number[] =>
  Array.from({ length }, (_, i) => (i * i + seed * (i + 3)) % VOCAB);

async function collect(session: Session, options: GenerateOptions): Promise<GeneratedToken[]> {
  const all: GeneratedToken[] = [];
  for await (const token of session.generate(options)) all.push(token);
  return all;
}

/** What greedy generation has to give: the first of the largest logits, fed back. */
function greedy(prompt: readonly number[], count: number): number[] {
  const ids = [...prompt];
  for (let i = 0; i < count; i++) {
    const last = expectedLogits(ids).slice(-VOCAB);
    ids.push(last.indexOf(Math.max(...last)));
  }
  return ids.slice(prompt.length);
}

test("forward gives every token's logits, for any lengths and any cut into steps", async () => {
  const batch = [sequence(3), sequence(40, 2), sequence(1, 3), sequence(17, 4), sequence(8, 5)];
  for (const [sequences, stepTokens] of [
    [1, 512],
    [2, 7],
    [5, 64],
    [8, 1],
  ] as const)
    await withSession({ sequences, stepTokens }, async (session) => {
      const results = await session.forward(batch);
      results.forEach((logits, i) => expect([...logits]).toEqual(expectedLogits(batch[i]!)));
    });
});

test("prefill and steps give what one forward gives, in every slot", async () => {
  await withSession({ sequences: 3, stepTokens: 5 }, async (session) => {
    const texts = [sequence(12), sequence(9, 2), sequence(7, 3)];
    for (const [slot, ids] of texts.entries()) await session.prefill(slot, ids.slice(0, ids.length - 2));
    for (const back of [2, 1]) await session.step(texts.map((ids, slot) => ({ slot, id: ids[ids.length - back]! })));
    texts.forEach((ids, slot) => {
      expect(session.lengthOf(slot)).toBe(ids.length);
      expect([...session.logits(slot)]).toEqual(expectedLogits(ids).slice(-VOCAB));
    });
  });
});

test("a slot that was reset starts from nothing, and the others keep theirs", async () => {
  await withSession({ sequences: 2 }, async (session) => {
    await session.prefill(0, sequence(5));
    await session.prefill(1, sequence(6, 2));
    session.reset(0);
    await session.prefill(0, [3]);
    await session.step([{ slot: 1, id: 4 }]);
    expect([...session.logits(0)]).toEqual(expectedLogits([3]));
    expect([...session.logits(1)]).toEqual(expectedLogits([...sequence(6, 2), 4]).slice(-VOCAB));
  });
});

test("a context that grows keeps what its sequences hold", async () => {
  await withSession({ sequences: 2, capacity: 1000 }, async (session) => {
    await session.prefill(0, sequence(20));
    await session.prefill(1, sequence(30, 2));
    const before = session.memory.states;
    await session.prefill(0, sequence(500, 3));
    expect(session.memory.states).toBeGreaterThan(before);
    await session.step([{ slot: 1, id: 7 }]);
    expect([...session.logits(0)]).toEqual(expectedLogits([...sequence(20), ...sequence(500, 3)]).slice(-VOCAB));
    expect([...session.logits(1)]).toEqual(expectedLogits([...sequence(30, 2), 7]).slice(-VOCAB));
  });
});

test("greedy generation continues prompts of different lengths as the model says", async () => {
  const prompts = [sequence(4), sequence(11, 2), sequence(1, 3)];
  await withSession({ sequences: 3, stepTokens: 6 }, async (session) => {
    const got: number[][] = prompts.map(() => []);
    for await (const { slot, token } of session.generate({ prompts, maxTokens: 9 })) got[slot]!.push(token);
    expect(got).toEqual(prompts.map((p) => greedy(p, 9)));
  });
});

test("more sequences than decode kernels are for generate all the same", async () => {
  const prompts = Array.from({ length: 11 }, (_, i) => sequence(1 + (i % 4), i));
  await withSession({ sequences: 11 }, async (session) => {
    const all = await collect(session, { prompts, maxTokens: 4 });
    prompts.forEach((p, slot) => expect(all.filter((t) => t.slot === slot).map((t) => t.token)).toEqual(greedy(p, 4)));
  });
});

test("on a device that binds little, steps shrink until they fit, and a context that cannot is refused", async () => {
  const small = await openDevice({ facts: { maxBinding: 512 } });
  try {
    const more = { device: small, plan: tinyPlan(small.facts) };
    await withSession({ ...more, capacity: 100 }, async (session) => {
      const most = await session.exclusively("test", async (steps) => steps.mostTokens((T) => T));
      expect(most).toBeLessThanOrEqual(512 / (4 * VOCAB));
      const [logits] = await session.forward([sequence(60)]);
      expect([...logits!]).toEqual(expectedLogits(sequence(60)));
    });
    await expect(withSession({ ...more, capacity: 200 }, async () => {})).rejects.toThrow("device/too-large");
  } finally {
    small.close();
  }
});

test("a plan that was compiled for other features is refused before anything is uploaded", async () => {
  const plan = tinyPlan({ ...device.facts, subgroup: { min: 3, max: 3 } });
  const modules = plan.modules.map((m) => ({ ...m, features: ["subgroups"] as const }));
  await expect(withSession({ plan: { ...plan, modules } }, async () => {})).rejects.toThrow("plan/device");
});

test("a stop token ends its sequence alone, is not yielded, and leaves the slots usable", async () => {
  const prompts = [[0], sequence(9, 2)];
  const whole = prompts.map((p) => greedy(p, 8));
  const stop = whole[1]![0]!;
  const cut = whole.map((tokens) => (tokens.includes(stop) ? tokens.slice(0, tokens.indexOf(stop)) : tokens));
  expect(cut.map((tokens) => tokens.length)).toEqual([2, 0]);
  await withSession({ sequences: 2 }, async (session) => {
    for (let round = 0; round < 2; round++) {
      const got: number[][] = prompts.map(() => []);
      for await (const { slot, token } of session.generate({ prompts, maxTokens: 8, stop: [stop] }))
        got[slot]!.push(token);
      expect(got).toEqual(cut);
    }
  });
});

test("sampling with a seed repeats, whatever else is in the batch", async () => {
  const draw = async (session: Session, prompts: number[][], seed: number): Promise<number[][]> => {
    const all = await collect(session, { prompts, maxTokens: 12, temperature: 50, seed });
    return prompts.map((_, slot) => all.filter((t) => t.slot === slot).map((t) => t.token));
  };
  await withSession({ sequences: 2 }, async (session) => {
    const [alone] = await draw(session, [sequence(6)], 7);
    const [beside] = await draw(session, [sequence(6), sequence(3, 2)], 7);
    const [other] = await draw(session, [sequence(6)], 8);
    expect(beside).toEqual(alone);
    expect(other).not.toEqual(alone);
  });
});

test("a decode step is one submit and makes no bind group", async () => {
  await withSession({}, async (session) => {
    const tokens = session.generate({ prompts: [sequence(4)], maxTokens: 40 });
    for (let i = 0; i < 5; i++) await tokens.next();
    const before = { ...session.counters };
    for (let i = 0; i < 20; i++) await tokens.next();
    expect(session.counters.submits - before.submits).toBe(20);
    expect(session.counters.bindGroups).toBe(before.bindGroups);
    await tokens.return();
    expect(session.lengthOf(0)).toBe(0);
  });
});

test("scores from the plan's own nll and from logits agree", async () => {
  const batch = [sequence(6), [5], sequence(20, 2)];
  const plan = tinyPlan(device.facts);
  const logitsOnly = { ...plan, entries: plan.entries.filter((e) => e.output !== "nll") };
  const onDevice = await withSession({ stepTokens: 8 }, (session) => session.score(batch));
  const onHost = await withSession({ plan: logitsOnly }, (session) => session.score(batch));
  expect(onDevice.map((s) => s.length)).toEqual([5, 0, 19]);
  onDevice.forEach((scores, i) => scores.forEach((x, t) => expect(x).toBeCloseTo(onHost[i]![t]!, 3)));
});

test("what does not fit is refused before anything runs", async () => {
  await withSession({ capacity: 10 }, async (session) => {
    await expect(session.forward([sequence(11)])).rejects.toThrow("session/capacity");
    await expect(session.prefill(1, [1])).rejects.toThrow("session/slot");
    await expect(session.prefill(0, [VOCAB])).rejects.toThrow("session/token-range");
    await expect(session.prefill(0, [])).rejects.toThrow("session/empty");
    await expect(session.generate({ prompts: [sequence(6)], maxTokens: 6 }).next()).rejects.toThrow("session/capacity");
    expect(() => session.logits(0)).toThrow("session/empty");
    // Refusals leave the session as it was: the longest that fits still runs.
    expect(await collect(session, { prompts: [sequence(6)], maxTokens: 5 })).toHaveLength(5);
  });
});
