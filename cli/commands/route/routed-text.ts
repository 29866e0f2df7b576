/** A text whose tokens were routed, as a terminal and a page show it. */
import type { Routing } from "../../../runtime/session/routing.ts";

/** A token and the experts it went to. */
export interface StripToken {
  readonly id: number;
  readonly text: string;
  /** By router, in the order of `routing.choices`; the best first. */
  readonly experts: readonly (readonly number[])[];
}

export interface RoutedText {
  readonly file: string;
  readonly sequences: number;
  readonly routing: Routing;
  readonly strip: readonly StripToken[];
}
