/** What a session refuses: a second call beside a first, any after it was closed, options out of their range. And what ends a call early. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { MoeError } from "../../../grammar/index.ts";
import { Aborted } from "../../../runtime/abort.ts";
import { openDevice } from "../../../runtime/dawn/open-device.ts";
import type { Device } from "../../../runtime/gpu/device.ts";
import { collectMetrics } from "../../../runtime/session/metrics.ts";
import { profileSession } from "../../../runtime/measure/profile.ts";
import { openSession, type Session, type SessionOptions } from "../../../runtime/session/session.ts";
import { watchBuffers } from "../../support/left-open.ts";
import { expectedLogits, source, tinyPlan, VOCAB } from "../../support/tiny-plan.ts";

let device: Device;
beforeAll(async () => void (device = await openDevice()));
afterAll(() => device.close());

const open = (options: Partial<SessionOptions> = {}): Promise<Session> =>
  openSession({ plan: tinyPlan(device.facts), device, source, capacity: 256, ...options });

/** The code and text of what a call throws, at once or later. */
async function refusal(run: () => unknown): Promise<string> {
  try {
    await run();
  } catch (error) {
    if (error instanceof MoeError) return error.message;
    throw error;
  }
  throw new Error("nothing was thrown");
}

/** Options as nobody's types would let them pass. */
const wrong = (options: unknown): never => options as never;

const tokens = async (session: Session, options: unknown): Promise<number[]> => {
  const found: number[] = [];
  for await (const { token } of session.generate(wrong(options))) found.push(token);
  return found;
};

const prompts = [[3, 1, 4, 1, 5]];

/** Everything a session can be asked, by name. */
const calls: Readonly<Record<string, (session: Session) => unknown>> = {
  forward: (s) => s.forward(prompts),
  score: (s) => s.score(prompts),
  prefill: (s) => s.prefill(0, [1]),
  step: (s) => s.step([{ slot: 0, id: 1 }]),
  reset: (s) => s.reset(0),
  perSequence: (s) => s.perSequence(0, "x", []),
  generate: (s) => s.generate({ prompts, maxTokens: 2 }).next(),
  collectMetrics: (s) => collectMetrics(s, prompts),
  profileSession: (s) => profileSession(s, { tokens: 2 }),
};

describe("one call at a time", () => {
  test.each(Object.entries(calls))(
    "%s is refused while an iterator of generate is open, which goes on",
    async (name, call) => {
      using session = await open();
      const [alone] = [await tokens(session, { prompts, maxTokens: 6 })];
      const iterator = session.generate({ prompts, maxTokens: 6 });
      const found = [(await iterator.next()).value?.token];
      expect(await refusal(() => call(session))).toMatch(
        new RegExp(`^session/busy: \`${name}\` cannot run: \`generate\` has this session`),
      );
      for await (const { token } of iterator) found.push(token);
      expect(found).toEqual(alone);
    },
  );

  test("of two generations at once, the second is refused and the first gives its tokens", async () => {
    using session = await open();
    const alone = await tokens(session, { prompts, maxTokens: 8 });
    const both = await Promise.allSettled([0, 1].map(() => tokens(session, { prompts, maxTokens: 8 })));
    expect(both.map((r) => (r.status === "fulfilled" ? r.value : String(r.reason)))).toEqual([
      alone,
      expect.stringContaining("session/busy"),
    ]);
  });

  test("a call of another kind at the same time is refused, and both kinds work afterwards", async () => {
    using session = await open();
    const [score, forward] = await Promise.allSettled([session.score(prompts), session.forward(prompts)]);
    expect(score.status).toBe("fulfilled");
    expect(forward).toMatchObject({ status: "rejected", reason: { message: expect.stringContaining("session/busy") } });
    const [logits] = await session.forward(prompts);
    expect([...logits!]).toEqual(expectedLogits(prompts[0]!));
  });

  test("an iterator that is told to return, left by `break` or never begun, leaves the session free", async () => {
    using session = await open();
    session.generate({ prompts, maxTokens: 5 });
    const returned = session.generate({ prompts, maxTokens: 5 });
    await returned.next();
    await returned.return();
    for await (const _ of session.generate({ prompts, maxTokens: 5 })) break;
    expect(session.lengthOf(0)).toBe(0);
    expect(await session.score(prompts)).toHaveLength(1);
  });

  test("an iterator that is returned before its first token gives none, and leaves the session free", async () => {
    using session = await open();
    const iterator = session.generate({ prompts, maxTokens: 5 });
    expect(await iterator.return()).toEqual({ done: true, value: undefined });
    expect(await iterator.next()).toEqual({ done: true, value: undefined });
    expect(session.counters.submits).toBe(0);
    expect(await tokens(session, { prompts, maxTokens: 2 })).toHaveLength(2);
  });

  test("a consumer that throws gets its own error, and leaves the session free", async () => {
    using session = await open();
    const mine = new Error("mine");
    const consume = async (): Promise<void> => {
      for await (const _ of session.generate({ prompts, maxTokens: 5 })) throw mine;
    };
    await expect(consume()).rejects.toBe(mine);
    expect(session.lengthOf(0)).toBe(0);
    expect(await tokens(session, { prompts, maxTokens: 2 })).toHaveLength(2);
  });

  test("of two iterators made before either began, the second to begin is refused and ended, and the first goes on", async () => {
    using session = await open();
    const alone = await tokens(session, { prompts, maxTokens: 3 });
    const [a, b] = [0, 1].map(() => session.generate({ prompts, maxTokens: 3 }));
    const found = [(await a!.next()).value?.token];
    expect(await refusal(() => b!.next())).toContain("session/busy");
    expect(await b!.next()).toEqual({ done: true, value: undefined });
    for await (const { token } of a!) found.push(token);
    expect(found).toEqual(alone);
    expect(await tokens(session, { prompts, maxTokens: 3 })).toEqual(alone);
  });

  test("a call that fails leaves the session free", async () => {
    using session = await open();
    expect(await refusal(() => session.score([[VOCAB]]))).toContain("session/token-range");
    expect(await refusal(() => tokens(session, { prompts: [[1], [2]], maxTokens: 1 }))).toContain("session/slot");
    expect(await tokens(session, { prompts, maxTokens: 2 })).toHaveLength(2);
  });
});

describe("after close", () => {
  const all = {
    ...calls,
    lengthOf: (s: Session) => s.lengthOf(0),
    logits: (s: Session) => s.logits(0),
    memory: (s: Session) => s.memory,
  };

  test.each(Object.entries(all))("%s says session/closed", async (_, call) => {
    const session = await open();
    session.close();
    expect(await refusal(() => call(session))).toBe("session/closed: the session was closed");
    session.close();
  });

  test("a call under way says it too, and the device is as good as before", async () => {
    for (const call of [calls["forward"]!, calls["score"]!, calls["prefill"]!]) {
      const session = await open();
      const running = refusal(() => call(session));
      session.close();
      expect(await running).toContain("session/closed");
    }
    const session = await open();
    const iterator = session.generate({ prompts, maxTokens: 50 });
    await iterator.next();
    session.close();
    expect(await refusal(() => iterator.next())).toContain("session/closed");
    expect(await iterator.next()).toEqual({ done: true, value: undefined });
    device.check();
    using other = await open();
    expect(await tokens(other, { prompts, maxTokens: 3 })).toHaveLength(3);
  });
});

describe("options are looked at", () => {
  const generating: readonly [object, string][] = [
    [{ temperature: Number.NaN }, "`temperature` of `generate` is NaN, and has to be a number from 0"],
    [{ temperature: -1 }, "`temperature` of `generate` is -1"],
    [{ temperature: Infinity }, "`temperature` of `generate` is Infinity"],
    [{ topP: Number.NaN }, "`topP` of `generate` is NaN, and has to be a number from 0 to 1"],
    [{ topP: 1.5 }, "`topP` of `generate` is 1.5"],
    [{ topK: -1 }, "`topK` of `generate` is -1, and has to be a whole number from 0"],
    [{ topK: 1.5 }, "`topK` of `generate` is 1.5"],
    [{ seed: 2 ** 32 }, "`seed` of `generate` is 4294967296"],
    [{ maxTokens: "5" }, '`maxTokens` of `generate` is "5"'],
    [{ maxTokens: Number.NaN }, "`maxTokens` of `generate` is NaN"],
    [{ maxTokens: null }, "`maxTokens` of `generate` is null"],
    [{ maxTokens: undefined }, "option/missing: `generate` needs `maxTokens`"],
    [{ stop: [1.5] }, "`stop` of `generate` is [1.5], and has to be a list of token ids, whole numbers from 0"],
    [{ stop: 3 }, "`stop` of `generate` is 3, and has to be a list of token ids"],
    [{ prompts: ["Once"] }, '`prompts` of `generate` is ["Once"], and has to be a list of lists of token ids'],
    [{ prompts: [1, 2] }, "`prompts` of `generate` is [1, 2]"],
    [{ signal: true }, "`signal` of `generate` is true, and has to be an AbortSignal"],
    [{ maxToken: 3 }, "option/unknown: `generate` has no option `maxToken`"],
  ];

  test.each(generating)("generate with %o", async (options, words) => {
    using session = await open();
    expect(await refusal(() => tokens(session, { prompts, maxTokens: 2, ...options }))).toContain(words);
    expect(await tokens(session, { prompts, maxTokens: 2 })).toHaveLength(2);
  });

  test("an option that nearly has a name is told the name", async () => {
    using session = await open();
    const error = await tokens(session, { prompts, maxTokens: 2, topk: 3 }).catch((e: unknown) => e as MoeError);
    expect(error).toMatchObject({ diagnostics: [{ code: "option/unknown", help: "did you mean `topK`?" }] });
  });

  const opening: readonly [object, string][] = [
    [{ sequences: 1.5 }, "`sequences` of `openSession` is 1.5, and has to be a whole number from 1"],
    [{ sequences: 0 }, "`sequences` of `openSession` is 0"],
    [{ capacity: Number.NaN }, "`capacity` of `openSession` is NaN"],
    [{ capacity: "64" }, '`capacity` of `openSession` is "64"'],
    [{ stepTokens: -5 }, "`stepTokens` of `openSession` is -5"],
    [{ plan: undefined }, "option/missing: `openSession` needs `plan`"],
    [{ plan: {} }, "`plan` of `openSession` is an object, and has to be a plan"],
    [{ device: "llvmpipe" }, '`device` of `openSession` is "llvmpipe"'],
    [{ capactiy: 4 }, "`openSession` has no option `capactiy`"],
  ];

  test.each(opening)("openSession with %o", async (options, words) => {
    expect(await refusal(() => open(wrong(options)))).toContain(words);
  });

  const others: readonly [string, (s: Session) => unknown, string][] = [
    ["score", (s) => s.score(wrong([1, 2])), "`batch` of `score` is [1, 2]"],
    ["score", (s) => s.score(wrong([["a"]])), "`batch` of `score`"],
    ["score", (s) => s.score(prompts, wrong({ signals: 1 })), "`score` has no option `signals`"],
    ["forward", (s) => s.forward(wrong("text")), '`batch` of `forward` is "text"'],
    ["forward", (s) => s.forward(wrong([[1, undefined]])), "`batch` of `forward`"],
    ["prefill", (s) => s.prefill(0, wrong(3)), "`ids` of `prefill` is 3"],
    ["prefill", (s) => s.prefill(0, [1], { length: 0.5 }), "`length` of `prefill` is 0.5"],
    ["prefill", (s) => s.prefill(wrong("0"), [1]), "session/slot: there is no slot 0"],
    ["step", (s) => s.step(wrong([1])), "`tokens` of `step` is [1]"],
    ["logits", (s) => s.logits(0.5), "session/slot"],
    ["profileSession", (s) => profileSession(s, wrong({})), "option/missing: `profileSession` needs `tokens`"],
    ["collectMetrics", (s) => collectMetrics(s, wrong(null)), "`batch` of `collectMetrics` is null"],
  ];

  test.each(others)("%s", async (_, call, words) => {
    using session = await open();
    expect(await refusal(() => call(session))).toContain(words);
  });
});

describe("a signal", () => {
  test("that is aborted already ends every call before it does anything", async () => {
    using session = await open();
    const signal = AbortSignal.abort();
    const before = session.counters.submits;
    for (const call of [
      () => tokens(session, { prompts, maxTokens: 9, signal }),
      () => session.score(prompts, { signal }),
      () => session.forward(prompts, [], { signal }),
      () => collectMetrics(session, prompts, { signal }).catch((e: unknown) => Promise.reject(e)),
      () => open({ signal }),
    ]) {
      const error: unknown = await Promise.resolve(call()).catch((e: unknown) => e);
      if (error instanceof MoeError && error.message.includes("session/no-output")) continue;
      expect(error).toBeInstanceOf(Aborted);
      expect((error as Error).name).toBe("AbortError");
    }
    expect(session.counters.submits).toBe(before);
  });

  test("in the middle of a generation ends it within two steps, with its own reason, and the session goes on", async () => {
    using session = await open();
    const controller = new AbortController();
    const reason = new Error("enough");
    const found: number[] = [];
    const before = session.counters.submits;
    const run = async (): Promise<void> => {
      for await (const { token } of session.generate({ prompts, maxTokens: 100, signal: controller.signal }))
        if (found.push(token) === 3) controller.abort(reason);
    };
    await expect(run()).rejects.toBe(reason);
    expect(found).toHaveLength(3);
    expect(session.counters.submits - before).toBeLessThanOrEqual(5);
    expect(session.lengthOf(0)).toBe(0);
    expect(await tokens(session, { prompts, maxTokens: 3 })).toEqual(found);
  });

  test("between the sequences of a batch ends their scoring", async () => {
    using session = await open();
    const controller = new AbortController();
    const batch = Array.from({ length: 40 }, () => [1, 2, 3]);
    const before = session.counters.submits;
    const scoring = session.score(batch, { signal: controller.signal });
    controller.abort();
    await expect(scoring).rejects.toBeInstanceOf(Aborted);
    expect(session.counters.submits - before).toBeLessThan(40);
    expect(await session.score([[1, 2]])).toHaveLength(1);
  });
});

test("opening and closing two hundred sessions leaves no buffer behind, whatever they were doing", async () => {
  using buffers = watchBuffers(device);
  const { alive } = buffers;
  const ends: readonly ((s: Session) => Promise<unknown> | unknown)[] = [
    (s) => s.score(prompts),
    (s) => tokens(s, { prompts, maxTokens: 2 }),
    async (s) => {
      // After the second token a step is in flight.
      const iterator = s.generate({ prompts, maxTokens: 9 });
      return [await iterator.next(), await iterator.next()];
    },
    (s) => void s.forward([[1, 2, 3]]).catch(() => undefined),
    (s) => void refusal(() => s.prefill(0, [1, 2, 3])),
  ];
  for (let i = 0; i < 200; i++) {
    const session = await open();
    expect(alive.size).toBeGreaterThan(0);
    await ends[i % ends.length]!(session);
    session.close();
  }
  // What was under way when a session was closed ends after it.
  await device.wait(device.gpu.queue.onSubmittedWorkDone());
  await new Promise((done) => setTimeout(done, 20));
  expect([...alive].map((b) => b.label)).toEqual([]);
  device.check();
});
