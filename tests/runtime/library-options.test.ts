/** What the functions of the library refuse to be given, beside those of a session: each is told what it has to be. */
import { afterAll, describe, expect, test } from "vitest";
import * as moec from "../../index.ts";
import { softwareFacts } from "../support/facts.ts";

const FOLDER = "examples/checkpoints/seed";
const loaded = await moec.loadModel(FOLDER);
const tokenizer = await moec.loadTokenizer(FOLDER);
afterAll(() => loaded.checkpoint.close());

const { model, source } = loaded;
const { storage } = source;
const device = { gpu: {}, facts: softwareFacts };
const file = { path: "a.moe", text: "x" };
const diagnostic = { code: "a/b", severity: "error", message: "m", labels: [], notes: [], help: null };
const provenance = { tensors: {} };
const transfer = { checkpoints: [], bytesRead: 0, bytesWritten: 0 };
const record = { step: 1, seed: 1, plan: "a", adapter: "b", data: {}, accumulators: {}, run: {} };
const training = { loaded, record, parameter: () => new Float32Array(0), states: [] };
const data = { sources: [], tokenizer: null, vocabulary: 8, cache: "a", context: 2, sequences: 1, micros: 1, seed: 1 };
const first = (models: AsyncGenerator): unknown => models.next();
const facts = (more: object): unknown => ({ device: { ...softwareFacts, ...more }, storage });

/** A call with arguments as nobody's types would let them pass. */
const call = (run: unknown, ...given: readonly unknown[]): unknown =>
  (run as (...args: unknown[]) => unknown)(...given);
const newWorkspace = (loader: unknown): unknown => new moec.Workspace(loader as moec.ModuleLoader);
const { checkModule, compile, compileModel, accountModel, makeConfigured, parse, format, renderDiagnostic } = moec;
const { readSource, formatSpan, lineAndColumn } = moec;
const { loadTokenizer, compareModels, estimateTransfer, readProvenance, traceOrigin, measureRoofline } = moec;

const run = {
  device: { gpu: {}, facts: {} },
  loaded: { model: {}, source: {}, checkpoint: {} },
  ...{ out: "run", steps: 1, data: { sources: [] } },
};

const refused: readonly (readonly [string, () => unknown])[] = [
  ["option/missing: `parse` needs `file`", () => call(parse)],
  ['`file` of `parse` is "x", and has to be a file', () => call(parse, "x")],
  ["`file` of `parse` is an object", () => call(parse, { path: "a", text: 5 })],
  ["`file` of `format` is an object", () => call(format, { text: "x" })],
  ["`diagnostic` of `renderDiagnostic` is an object", () => call(renderDiagnostic, {}, { color: false })],
  ["`diagnostic` of", () => call(renderDiagnostic, { ...diagnostic, labels: [{ span: file }] }, { color: false })],
  ["`renderDiagnostic` needs `color`", () => call(renderDiagnostic, diagnostic, {})],
  ["`color` of `renderDiagnostic` is 1", () => call(renderDiagnostic, diagnostic, { color: 1 })],
  ["`renderDiagnostic` has no option `colour`", () => call(renderDiagnostic, diagnostic, { colour: true })],
  ["`Workspace` needs `loader`", () => call(newWorkspace)],
  ["`loader` of `Workspace` is an object", () => call(newWorkspace, { std: ["a.moe"], load: () => null })],
  ["`loader` of `Workspace` is an object", () => call(newWorkspace, { std: [] })],
  ['`file` of `open` is "a.moe"', () => call((f: unknown) => moec.openWorkspace().open(f as never), "a.moe")],
  ["`file` of `with` is an object", () => call((f: unknown) => moec.openWorkspace().with(f as never), { path: "a" })],
  ["`readSource` needs `path`", () => call(readSource)],
  ["`path` of `readSource` is 3, and has to be a text", () => call(readSource, 3)],
  ["`span` of `formatSpan` is an object", () => call(formatSpan, { file, start: -1, end: 0 })],
  ["`formatSpan` needs `span`", () => call(formatSpan)],
  [
    "`offset` of `lineAndColumn` is 2, and has to be a whole number from 0 to 1",
    () => call(formatSpan, { file, start: 2, end: 2 }),
  ],
  ["`file` of `lineAndColumn` is", () => call(lineAndColumn, "x", 0)],
  ["`offset` of `lineAndColumn` is 0.5", () => call(lineAndColumn, file, 0.5)],
  ["`offset` of `lineAndColumn` is 2, and has to be a whole number from 0 to 1", () => call(lineAndColumn, file, 2)],
  ["`checkModule` needs `scope`", () => call(checkModule)],
  ["`scope` of `checkModule` is a Workspace", () => call(checkModule, moec.openWorkspace())],
  [
    "`observer` of `checkModule` is an object",
    () => call(checkModule, moec.openWorkspace().open(file), { values: () => 0 }),
  ],
  ["`scope` of `makeConfigured` is null", () => call(makeConfigured, null, {})],
  ["`config` of `makeConfigured` is an object", () => call(makeConfigured, model.instance.scope, {})],
  ["`model` of `accountModel` is an object", () => call(accountModel, {}, () => 2, 16)],
  ["`width` of `accountModel` is 2, and has to be a function", () => call(accountModel, model, 2, 16)],
  ["`context` of `accountModel` is NaN", () => call(accountModel, model, () => 2, Number.NaN)],
  ["of `accountModel` is NaN, and has to be a number from 0", () => call(accountModel, model, () => Number.NaN, 16)],
  ["`model` of `compileModel` is 3", () => call(compileModel, 3, { device: softwareFacts, storage })],
  ["`compileModel` needs `storage`", () => call(compileModel, model, { device: softwareFacts })],
  ["`compileModel` has no option `stepToken`", () => call(compileModel, model, { device, storage, stepToken: 4 })],
  ["`stepTokens` of `compileModel` is 0.5", () => call(compileModel, model, { device, storage, stepTokens: 0.5 })],
  ['`purpose` of `compileModel` is "train"', () => call(compileModel, model, { device, storage, purpose: "train" })],
  ['`metrics` of `compileModel` is "load"', () => call(compileModel, model, { device, storage, metrics: "load" })],
  [
    "`maxBinding` of `device of compileModel` is NaN",
    () => call(compileModel, model, facts({ maxBinding: Number.NaN })),
  ],
  ['`manyCores` of `device of compileModel` is "few"', () => call(compileModel, model, facts({ manyCores: "few" }))],
  ["`subgroup` of `device of compileModel`", () => call(compileModel, model, facts({ subgroup: { min: 8, max: 4 } }))],
  [
    'of `compileModel` is "f64", and has to be "f32"',
    () => call(compileModel, model, { device: softwareFacts, storage: () => "f64" }),
  ],
  ["`model` of `compile` is null", () => call(compile, null, device, source)],
  ['`device` of `compile` is "gpu"', () => call(compile, model, "gpu", source)],
  ["`compile` needs `source`", () => call(compile, model, device)],
  ['`metrics` of `compile` is "load"', () => call(compile, model, device, source, "load")],
  ['`purpose` of `compile` is "x"', () => call(compile, model, device, source, [], "x")],
  ["`folder` of `loadTokenizer` is 5", () => call(loadTokenizer, 5)],
  ["`text` of `encode` is 5, and has to be a text", () => call(tokenizer.encode, 5)],
  ["`text` of `encodeDocument` is null", () => call(tokenizer.encodeDocument, null)],
  ["`encodeText` needs `text`", () => call(tokenizer.encodeText)],
  ['`ids` of `decode` is "x", and has to be a list of token ids', () => call(tokenizer.decode, "x")],
  ["`ids` of `decode` is [1, NaN]", () => call(tokenizer.decode, [1, Number.NaN])],
  ["`ids` of `decode` is [-1]", () => call(tokenizer.decode, [-1])],
  ["`skipSpecialTokens` of `decode` is 1", () => call(tokenizer.decode, [1], { skipSpecialTokens: 1 })],
  ["`decode` has no option `skipSpecial`", () => call(tokenizer.decode, [1], { skipSpecial: true })],
  ['`id` of `push` is "1"', () => call(tokenizer.stream().push, "1")],
  ["`b` of `compareModels` is an object", () => first(call(compareModels, loaded, {}) as AsyncGenerator)],
  ["`transfer` of `estimateTransfer` is an object", () => call(estimateTransfer, {}, null)],
  ["`target` of `estimateTransfer` is 4", () => call(estimateTransfer, transfer, 4)],
  ["`folder` of `readProvenance` is null", () => call(readProvenance, null)],
  ["`provenance` of `traceOrigin` is an object", () => call(traceOrigin, FOLDER, {}, "a")],
  ["`path` of `traceOrigin` is 1", () => call(traceOrigin, FOLDER, provenance, 1)],
  ["`map` of `traceOrigin` is 7", () => call(traceOrigin, FOLDER, provenance, "a", 7)],
  ["`device` of `gradientsOf` is an object", () => call(moec.gradientsOf, {}, loaded, [[1, 2]])],
  ["`model` of `gradientsOf` is null", () => call(moec.gradientsOf, device, { ...loaded, model: null }, [[1, 2]])],
  ["`gradientsOf` needs `source`", () => call(moec.gradientsOf, device, { model }, [[1, 2]])],
  ["`sequences` of `gradientsOf` is [1, 2]", () => call(moec.gradientsOf, device, loaded, [1, 2])],
  ["`gradientsOf` has no option `clip`", () => call(moec.gradientsOf, device, loaded, [[1, 2]], { clip: 1 })],
  ["`folder` of `writeTrainingCheckpoint` is 4", () => call(moec.writeTrainingCheckpoint, 4, training)],
  ["`writeTrainingCheckpoint` needs `loaded`", () => call(moec.writeTrainingCheckpoint, "out", {})],
  [
    "`record` of `writeTrainingCheckpoint` is an object, and has to be where the run stands",
    () => call(moec.writeTrainingCheckpoint, "out", { ...training, record: { ...training.record, step: 0.5 } }),
  ],
  [
    "`states` of `writeTrainingCheckpoint`",
    () => call(moec.writeTrainingCheckpoint, "out", { ...training, states: [{ state: "m" }] }),
  ],
  ["`folder` of `readTrainingCheckpoint` is null", () => call(moec.readTrainingCheckpoint, null)],
  ["`openData` needs `tokenizer`", () => call(moec.openData, { sources: [] })],
  ["`context` of `openData` is 0", () => call(moec.openData, { ...data, context: 0 })],
  ["`openData` has no option `packing`", () => call(moec.openData, { ...data, packing: "joined" })],
  ["`sources` of `openData` is [an object]", () => call(moec.openData, { ...data, sources: [{ name: "a" }] })],
  ["`heldOut` of `openData` is an object", () => call(moec.openData, { ...data, heldOut: { share: 2, most: 1 } })],
  ["`openTraining` needs `device`", () => call(moec.openTraining, { out: "run" })],
  ["`steps` of `openTraining` is 0", () => call(moec.openTraining, { ...run, steps: 0 })],
  ["`rate` of `openTraining` is -1", () => call(moec.openTraining, { ...run, rate: -1 })],
  ["`openTraining` has no option `warmup`", () => call(moec.openTraining, { ...run, warmup: 0.1 })],
  ["`samples` of `openTraining` is an object", () => call(moec.openTraining, { ...run, samples: { prompts: "a" } })],
  ["`model` of `planFresh` is an object", () => call(moec.planFresh, {}, {}, { seed: 1, tokenizer: null })],
  ["`device` of `measureRoofline` is an object", () => call(measureRoofline, {})],
];

describe("a wrong argument is told by its name, with what it has to be:", () => {
  test.each(refused)("%s", async (words, run) => {
    const error: unknown = await (async () => run())().catch((e: unknown) => e);
    expect(error).toBeInstanceOf(moec.MoeError);
    expect((error as Error).message).toMatch(/^option\//);
    expect((error as Error).message).toContain(words);
  });
});
