/** What a plan knows of where its result comes from, before a byte is read. */
import type { Json } from "../../compiler/index.ts";

export interface ProvenanceHead {
  /** Null for an export. */
  readonly upcycling: {
    readonly name: string;
    readonly file: string;
    readonly text: string;
    readonly parameters: Readonly<Record<string, Json>>;
  } | null;
  /** By number: how the upcycling calls it, and its model. */
  readonly sources: readonly { readonly name: string; readonly model: string }[];
  readonly options: Readonly<Record<string, Json>>;
}
