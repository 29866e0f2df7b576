/**
 * Results that are NaN or infinite: weights that are finite and still too large, activations that pass what float32 holds. A sum
 * that overflows inside of a kernel is NaN (`moe_sum`), so that it cannot be divided away; what is read back is looked at by its bits.
 */
import { MoeError, type Diagnostic } from "../../grammar/diagnostic.ts";

/** Knows the tokens after which it happened, so that they can be run again and traced; see `traceFinite`. */
export class NotFinite extends MoeError {
  /** Of the sequence, up to and with the last one that the result depends on. */
  readonly ids: readonly number[];

  constructor(diagnostic: Diagnostic, ids: readonly number[]) {
    super(diagnostic);
    this.ids = ids;
  }
}

/** Says `session/not-finite` of an output, such as `logits`. */
export function notFinite(output: string, model: string, ids: readonly number[]): NotFinite {
  const diagnostic: Diagnostic = {
    code: "session/not-finite",
    severity: "error",
    message: `results of ${model} (${output}) after ${ids.length} token${ids.length === 1 ? "" : "s"} are NaN or infinite`,
    labels: [],
    notes: ["some value on the way is too large for float32, or has no meaning"],
    help: "add --trace-finite, or call `traceFinite`: it names the layer where this begins",
  };
  return new NotFinite(diagnostic, ids);
}

/** The same error with a note before its others. */
export function withNote({ diagnostics }: MoeError, note: string): MoeError {
  return new MoeError(diagnostics.map((d) => ({ ...d, notes: [note, ...d.notes] })));
}
