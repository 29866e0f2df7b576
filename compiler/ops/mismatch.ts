/** What a type rule answers when it does not hold. */

/** A type rule that does not hold: the front end turns it into a diagnostic with both places. */
export interface Mismatch {
  readonly kind: "mismatch";
  /** `shape/...` or `type/...`. */
  readonly code: string;
  readonly message: string;
  /** Axis at fault, and which inputs disagree on it, so that labels can show where each size came from. */
  readonly axis: string | null;
  readonly inputs: readonly number[];
  readonly help: string | null;
  /** The inputs are told with their dtypes, which are at fault. */
  readonly byDtype: boolean;
  /** The message begins with its verb; the op, as it is written, comes before it: "needs f32, but this is u32". */
  readonly isAboutOp: boolean;
}

export function isMismatch(x: object): x is Mismatch {
  return "kind" in x;
}
