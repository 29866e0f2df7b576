/**
 * Symbolic sizes: Laurent polynomials over named symbols with rational coefficients, in normal form. `G*R*C`, `D/2` and
 * `(D/G)*G == D` are decided by comparing keys; nothing here knows a size's numeric value unless it is constant.
 * A rounded size, such as a capacity per token times T, is a symbol of its own that knows what was rounded.
 * Limits: floor division and `%` of symbols have no normal form; callers turn those into opaque symbols.
 */

export type Rounding = "ceil" | "floor";

/** What a symbol stands for that is no plain name: `ceil(1/4*T)`. */
export interface Rounded {
  readonly rounding: Rounding;
  readonly of: Dim;
}

/** One term: coefficient `num/den` (den > 0, reduced) times symbols with exponents. */
export interface Term {
  readonly num: number;
  readonly den: number;
  readonly powers: ReadonlyMap<string, number>;
}

/** Of each rounded symbol, what is rounded: decided by its text, so kept once for all. */
const roundedSymbols = new Map<string, Rounded>();

export class Dim {
  /** Canonical text; equal keys mean equal sizes. */
  readonly key: string;
  readonly #terms: readonly Term[];

  private constructor(terms: readonly Term[]) {
    this.#terms = terms;
    this.key = terms.length === 0 ? "0" : terms.map(termKey).join(" + ");
  }

  static of(value: number | string | Dim): Dim {
    if (value instanceof Dim) return value;
    if (typeof value === "string") return new Dim([{ num: 1, den: 1, powers: new Map([[value, 1]]) }]);
    return value === 0 ? new Dim([]) : new Dim([{ num: value, den: 1, powers: new Map() }]);
  }

  /** The number rounded to a whole one, or a symbol for what a step will know. */
  static round(rounding: Rounding, of: Dim): Dim {
    if (of.value !== null) return Dim.of(Math[rounding](of.value));
    const symbol = `${rounding}(${of.key})`;
    if (!roundedSymbols.has(symbol)) roundedSymbols.set(symbol, { rounding, of });
    return Dim.of(symbol);
  }

  /** A fraction of what it is written as: 0.3 is 3/10. */
  static decimal(value: number): Dim {
    const [digits = "0", exponent = "0"] = String(value).split("e");
    const places = (digits.split(".")[1] ?? "").length - Number(exponent);
    const scale = 10 ** Math.max(0, places);
    return Dim.of(Math.round(value * scale)).over(Dim.of(scale))!;
  }

  static roundedSymbol(symbol: string): Rounded | null {
    return roundedSymbols.get(symbol) ?? null;
  }

  static product(dims: readonly Dim[]): Dim {
    return dims.reduce((a, b) => a.times(b), Dim.of(1));
  }

  plus(other: Dim): Dim {
    return normal([...this.#terms, ...other.#terms]);
  }

  minus(other: Dim): Dim {
    return this.plus(other.times(Dim.of(-1)));
  }

  times(other: Dim): Dim {
    return normal(this.#terms.flatMap((a) => other.#terms.map((b) => multiply(a, b))));
  }

  /** Quotient, or null when it has no normal form (dividing by a sum, or by zero). */
  over(other: Dim): Dim | null {
    if (other.equals(this) && this.#terms.length > 0) return Dim.of(1);
    const [term, ...rest] = other.#terms;
    if (term === undefined || rest.length > 0) return null;
    const inverse: Term = {
      num: Math.sign(term.num) * term.den,
      den: Math.abs(term.num),
      powers: new Map([...term.powers].map(([s, p]) => [s, -p])),
    };
    return normal(this.#terms.map((t) => multiply(t, inverse)));
  }

  equals(other: Dim): boolean {
    return this.key === other.key;
  }

  /** The number, when no symbol is left. */
  get value(): number | null {
    if (this.#terms.length === 0) return 0;
    const [t] = this.#terms;
    return this.#terms.length === 1 && t !== undefined && t.powers.size === 0 ? t.num / t.den : null;
  }

  get terms(): readonly Term[] {
    return this.#terms;
  }

  get symbols(): readonly string[] {
    return [...new Set(this.#terms.flatMap((t) => [...t.powers.keys()]))];
  }

  /** Whether the symbol has a part in it, also within what is rounded. */
  dependsOn(symbol: string): boolean {
    return this.symbols.some((s) => s === symbol || Dim.roundedSymbol(s)?.of.dependsOn(symbol) === true);
  }

  /** Replaces symbols that `lookup` knows. */
  substitute(lookup: (symbol: string) => Dim | null): Dim {
    let sum = Dim.of(0);
    for (const t of this.#terms) {
      let product: Dim = new Dim([{ num: t.num, den: t.den, powers: new Map() }]);
      for (const [symbol, power] of t.powers) {
        const rounded = Dim.roundedSymbol(symbol);
        const inner = rounded === null ? null : Dim.round(rounded.rounding, rounded.of.substitute(lookup));
        const factor = lookup(symbol) ?? inner ?? Dim.of(symbol);
        for (let i = 0; i < Math.abs(power); i++)
          product = power > 0 ? product.times(factor) : (product.over(factor) ?? product);
      }
      sum = sum.plus(product);
    }
    return sum;
  }

  /** The value under an assignment; throws when a symbol is missing, which is a bug of the caller. */
  evaluate(values: ReadonlyMap<string, number> | Readonly<Record<string, number>>): number {
    const read =
      values instanceof Map
        ? (s: string) => values.get(s)
        : (s: string) => (values as Readonly<Record<string, number>>)[s];
    let sum = 0;
    for (const t of this.#terms) {
      let product = t.num;
      for (const [symbol, power] of t.powers) {
        const rounded = Dim.roundedSymbol(symbol);
        const v = rounded === null ? read(symbol) : Math[rounded.rounding](rounded.of.evaluate(values));
        if (v === undefined) throw new Error(`size symbol ${symbol} has no value`);
        product *= v ** power;
      }
      sum += product / t.den;
    }
    return sum;
  }

  toString(): string {
    return this.key;
  }
}

function multiply(a: Term, b: Term): Term {
  const powers = new Map(a.powers);
  for (const [s, p] of b.powers) {
    const sum = (powers.get(s) ?? 0) + p;
    if (sum === 0) powers.delete(s);
    else powers.set(s, sum);
  }
  return reduce({ num: a.num * b.num, den: a.den * b.den, powers });
}

function reduce(t: Term): Term {
  let [a, b] = [Math.abs(t.num), t.den];
  while (b > 0) [a, b] = [b, a % b];
  return a > 1 && Number.isInteger(t.num) ? { num: t.num / a, den: t.den / a, powers: t.powers } : t;
}

function normal(terms: readonly Term[]): Dim {
  const byPowers = new Map<string, Term>();
  for (const t of terms) {
    const key = powersKey(t);
    const old = byPowers.get(key);
    byPowers.set(
      key,
      old === undefined
        ? t
        : reduce({ num: old.num * t.den + t.num * old.den, den: old.den * t.den, powers: t.powers }),
    );
  }
  const kept = [...byPowers.entries()].filter(([, t]) => t.num !== 0).sort(([a], [b]) => (a < b ? 1 : a > b ? -1 : 0));
  // Dim's constructor is private to keep every instance normal; this is its one other caller.
  return new (Dim as unknown as new (terms: readonly Term[]) => Dim)(kept.map(([, t]) => t));
}

function powersKey(t: Term): string {
  return [...t.powers]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([s, p]) => (p === 1 ? s : `${s}^${p}`))
    .join("*");
}

function termKey(t: Term): string {
  const coefficient = t.den === 1 ? `${t.num}` : `${t.num}/${t.den}`;
  const powers = powersKey(t);
  if (powers === "") return coefficient;
  return coefficient === "1" ? powers : `${coefficient}*${powers}`;
}
