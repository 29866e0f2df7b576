/** A Llama in plain loops over float64, every layer of it: nothing here is the compiler's. Touvron et al. (2023). */

export type Vector = readonly number[];

export interface LlamaSizes {
  readonly L: number;
  readonly D: number;
  readonly F: number;
  /** Heads of keys and values, queries for each, channels of a head. */
  readonly G: number;
  readonly R: number;
  readonly C: number;
  readonly eps: number;
}

/** [T][D] each. */
export interface Layer {
  /** The residual stream that enters. */
  readonly stream: readonly Vector[];
  /** What attention and feed-forward are given. */
  readonly attention: readonly Vector[];
  readonly mlp: readonly Vector[];
}

/** What each layer is given at every token; parameters by their paths, row-major. */
export function runLlama(
  parameter: (path: string) => ArrayLike<number>,
  { L, D, F, G, R, C, eps }: LlamaSizes,
  ids: readonly number[],
): readonly Layer[] {
  const matrix = (path: string, rows: number, columns: number): Vector[] => {
    const data = parameter(path);
    return Array.from({ length: rows }, (_, i) =>
      Array.from({ length: columns }, (_unused, j) => data[i * columns + j]!),
    );
  };
  const embedding = parameter("embed.w");
  let x: readonly Vector[] = ids.map((id) => Array.from({ length: D }, (_, i) => embedding[id * D + i]!));
  return Array.from({ length: L }, (_, l): Layer => {
    const path = `blocks[${l}]`;
    const stream = x;
    const attention = stream.map((row) => normalise(row, parameter(`${path}.norm1.w`), eps));
    const heads = (name: string, count: number): Vector[][] => {
      const weights = matrix(`${path}.attn.${name}.w`, count * C, D);
      return attention.map((row) => {
        const all = multiply(weights, row);
        return Array.from({ length: count }, (_unused, h) => all.slice(h * C, (h + 1) * C));
      });
    };
    const queries = heads("q", G * R).map((row, t) => row.map((q) => turn(q, t)));
    const keys = heads("k", G).map((row, t) => row.map((k) => turn(k, t)));
    const values = heads("v", G);
    const mixed = queries.map((row, t) =>
      row.flatMap((q, h) => {
        const group = Math.floor(h / R);
        const shares = keys.slice(0, t + 1).map((k) => Math.exp(dot(k[group]!, q) / Math.sqrt(C)));
        const total = shares.reduce((a, b) => a + b, 0);
        return Array.from({ length: C }, (_unused, c) =>
          shares.reduce((sum, share, s) => sum + (share / total) * values[s]![group]![c]!, 0),
        );
      }),
    );
    const output = matrix(`${path}.attn.o.w`, D, G * R * C);
    const after = mixed.map((row, t) => add(stream[t]!, multiply(output, row)));
    const mlp = after.map((row) => normalise(row, parameter(`${path}.norm2.w`), eps));
    const [gate, up] = ["gate", "up"].map((name) => matrix(`${path}.mlp.${name}.w`, F, D));
    const down = matrix(`${path}.mlp.down.w`, D, F);
    x = mlp.map((row, t) => {
      const raised = multiply(up!, row);
      const inner = multiply(gate!, row).map((g, i) => (g / (1 + Math.exp(-g))) * raised[i]!);
      return add(after[t]!, multiply(down, inner));
    });
    return { stream, attention, mlp };
  });
}

const dot = (a: Vector, b: Vector): number => a.reduce((sum, v, i) => sum + v * b[i]!, 0);
const multiply = (matrix: readonly Vector[], x: Vector): number[] => matrix.map((row) => dot(row, x));

export const add = (a: Vector, b: Vector): number[] => a.map((x, i) => x + b[i]!);
export const scale = (a: Vector, by: number): number[] => a.map((x) => by * x);
export const mean = (rows: readonly Vector[]): number[] => scale(rows.reduce(add), 1 / rows.length);
export const unit = (row: Vector): number[] => scale(row, 1 / Math.sqrt(dot(row, row)));

const normalise = (x: Vector, w: ArrayLike<number>, eps: number): number[] => {
  const root = Math.sqrt(dot(x, x) / x.length + eps);
  return x.map((v, i) => (v / root) * w[i]!);
};

/** Channels i and i + half are turned by position / 10000^(2i / channels). */
function turn(x: Vector, position: number): number[] {
  const half = x.length / 2;
  return x.map((_, i) => {
    const angle = position / 10000 ** ((2 * (i % half)) / x.length);
    const [a, b] = [x[i % half]!, x[(i % half) + half]!];
    return i < half ? a * Math.cos(angle) - b * Math.sin(angle) : b * Math.cos(angle) + a * Math.sin(angle);
  });
}
