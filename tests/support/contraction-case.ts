/**
 * Contractions with random operands, for tests and timings of the kernel templates: the spec, the buffers it binds, and
 * what must come out, in float64. The epilogue stores sum_i (i + 1) * acc_i over a group's matrices.
 */
import type { ContractionSpec, Routing } from "../../compiler/codegen/kernel/contraction/contraction.ts";
import type { KernelWriter } from "../../compiler/codegen/kernel/writer.ts";
import type { Binding, Size } from "../../compiler/plan/plan.ts";
import type { WeightFormat } from "../../compiler/plan/format.ts";
import { type Words, bindingKey } from "./gpu.ts";
import { packMatrix, roundMatrix } from "./matrix.ts";

export interface ContractionShape {
  readonly tokens: number;
  readonly k: number;
  readonly groups: readonly {
    readonly cols: number;
    readonly matrices: number;
    readonly storage: WeightFormat;
    /** The weights lie for the product in the other direction. */
    readonly transposed?: boolean;
  }[];
  readonly routing?: {
    readonly banks: number;
    readonly choices: number;
    readonly aPer: "token" | "choice";
    readonly combine?: boolean;
    readonly tileRows: number;
    /** Bank of a choice; pseudo-random when not given. */
    readonly bankOf?: (choice: number) => number;
    /** Banks held by the bound part; all when not given. */
    readonly part?: { readonly start: number; readonly count: number };
  };
  /** Leaves the expected values out, for timings. */
  readonly unchecked?: boolean;
}

export interface ContractionCase {
  readonly spec: ContractionSpec;
  readonly data: ReadonlyMap<string, Words>;
  /** Per group: the output's binding, its length, and the expected values; rows that the kernel must leave alone are NaN. */
  readonly outputs: readonly { readonly binding: Binding; readonly length: number; readonly expected: Float64Array }[];
  readonly index: Uint32Array;
}

/** Numbers in -1 ..< 1, the same for the same seed. */
export function randomNumbers(length: number, seed: number): Float32Array {
  let state = seed * 2654435761 + 1;
  return Float32Array.from({ length }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    return (state >>> 8) / 8388608 - 1;
  });
}

const buffer = (id: string): Binding => ({ kind: "buffer", id });

export function makeContractionCase(id: string, shape: ContractionShape): ContractionCase {
  const { tokens, k, routing } = shape;
  const choices = tokens * (routing?.choices ?? 1);
  const aRows = routing?.aPer === "choice" ? choices : tokens;
  const outRows = routing === undefined || routing.combine === true ? tokens : choices;
  const data = new Map<string, Words>();
  const put = (binding: Binding, words: Words): Binding => {
    data.set(bindingKey(binding), words);
    return binding;
  };

  const a = randomNumbers(aRows * k, 1);
  put(buffer("a"), a);
  const banks = routing?.banks ?? 1;
  const random = randomNumbers(choices, 2);
  const index = Uint32Array.from(
    { length: choices },
    (_, s) => routing?.bankOf?.(s) ?? Math.floor(((random[s] as number) + 1) * 0.5 * banks),
  );
  const scale = randomNumbers(choices, 3);
  const part = routing?.part ?? { start: 0, count: banks };
  if (routing !== undefined) {
    put(buffer("index"), index);
    put(buffer("scale"), scale);
  }

  const outputs: ContractionCase["outputs"][number][] = [];
  const groups = shape.groups.map((g, gi) => {
    const made = Array.from({ length: g.matrices }, (_, m) => makeWeight(g, 10 + gi * 10 + m));
    const values = made.map((weight) => weight.values);
    const out = buffer(`out${gi}`);
    outputs.push({
      binding: out,
      length: outRows * g.cols,
      expected: shape.unchecked === true ? new Float64Array() : expect(values, g.cols),
    });
    return {
      cols: g.cols,
      matrices: made.map(({ words }, m) => ({
        binding: put(buffer(`w${gi}.${m}`), words),
        storage: g.storage,
        transposed: g.transposed ?? false,
        part: { split: "bank" as const, ...part },
      })),
      store(w: KernelWriter, width: 1 | 4, row: string, col: string, acc: readonly string[]): string {
        const name = w.bind(out, width === 4 ? "array<vec4<f32>>" : "array<f32>", "write");
        const sum = acc.map((x, i) => `${i + 1}.0 * ${x}`).join(" + ");
        return `${name}[(${row} * ${g.cols}u + ${col}) / ${width}u] = ${sum};`;
      },
    };
  });

  /** [bank][k][cols] as the format keeps it, and as it lies. */
  function makeWeight(
    { cols, storage, transposed }: ContractionShape["groups"][number],
    seed: number,
  ): { readonly values: Float32Array; readonly words: Words } {
    const [rows, columns] = transposed === true ? [cols, k] : [k, cols];
    const lying = roundMatrix(randomNumbers(part.count * k * cols, seed), part.count, rows, columns, storage);
    const words = packMatrix(lying, part.count, rows, columns, storage);
    if (transposed !== true) return { values: lying, words };
    const turned = (i: number): number =>
      (Math.floor(i / (k * cols)) * cols + (i % cols)) * k + (Math.floor(i / cols) % k);
    return { values: lying.map((_, i) => lying[turned(i)]!), words };
  }

  /** Expected output of a group: NaN where a row's bank is not in the part. */
  function expect(values: readonly Float32Array[], cols: number): Float64Array {
    const out = new Float64Array(outRows * cols).fill(Number.NaN);
    const perRow = routing?.combine === true ? routing.choices : 1;
    for (let row = 0; row < outRows; row++)
      for (let j = 0; j < perRow; j++) {
        const choice = row * perRow + j;
        const bank = routing === undefined ? 0 : (index[choice] as number) - part.start;
        if (bank < 0 || bank >= part.count) continue;
        const aRow =
          routing === undefined ? row : routing.aPer === "choice" ? choice : Math.floor(choice / routing.choices);
        for (let c = 0; c < cols; c++) {
          let sum = 0;
          values.forEach((v, m) => {
            for (let i = 0; i < k; i++)
              sum += (m + 1) * (a[aRow * k + i] as number) * (v[(bank * k + i) * cols + c] as number);
          });
          const at = row * cols + c;
          const scaled = routing?.combine === true ? sum * (scale[choice] as number) : sum;
          out[at] = Number.isNaN(out[at]) ? scaled : (out[at] as number) + scaled;
        }
      }
    return out;
  }

  const rows: Size = outRows === tokens ? "T" : ["*", "T", routing?.choices ?? 1];
  const route: Routing | null =
    routing === undefined
      ? null
      : {
          banks,
          choices: routing.choices,
          index: buffer("index"),
          aPer: routing.aPer,
          order: buffer("order"),
          tiles: buffer("tiles"),
          tileRows: routing.tileRows,
          combine:
            routing.combine === true
              ? { scale: (w, choice) => `${w.bind(buffer("scale"), "array<f32>", "read")}[${choice}]` }
              : null,
        };
  const spec: ContractionSpec = {
    id,
    k,
    rows,
    rowCount: (w) => (outRows === tokens ? w.step("T") : `(${w.step("T")} * ${routing?.choices ?? 1}u)`),
    a: (w, width, row, at) =>
      `${w.bind(buffer("a"), width === 4 ? "array<vec4<f32>>" : "array<f32>", "read")}[(${row} * ${k}u + ${at}) / ${width}u]`,
    groups,
    routing: route,
  };
  return { spec, data, outputs, index };
}
