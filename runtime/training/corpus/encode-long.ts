/**
 * Ids of a text that is too long for one call of its tokenizer, piece by piece, as one call would give them. A text may be cut where the
 * tokenizer's ids of what is around the cut are those of both sides together; each piece is then encoded behind the end of the one
 * before, so that no tokenizer takes it for the beginning of a text. Limit: where no such cut is found the text is cut anyway, and ids at the
 * cut may be others; they still stand for the same text.
 */

/** Characters of a piece; a tokenizer takes some memory for each. */
const PIECE = 1 << 16;
/** What is looked at on each side of a cut. */
const AROUND = 256;
/** Cuts of one kind that are tried. */
const MOST_TRIES = 24;

export type Encode = (text: string) => readonly number[];

/** `first` encodes how a text begins, `encode` any piece. Ids come in the order of the text. */
export function* encodeLong(
  parts: Iterable<string>,
  first: Encode,
  encode: Encode,
  piece = PIECE,
): Generator<readonly number[]> {
  let [tail, text] = ["", ""];
  let isFirst = true;
  const take = (end: number): readonly number[] => {
    const own = text.slice(0, end);
    const ids = isFirst ? first(own) : encodeBehind(tail, own, encode);
    isFirst = false;
    tail = endOf(own);
    text = text.slice(end);
    return ids;
  };
  for (const part of parts) {
    text += part;
    while (text.length > piece + AROUND) yield take(findCut(text, piece, encode));
  }
  if (text !== "" || isFirst) yield take(text.length);
}

/** The ids of a text as they are behind another. */
export function encodeBehind(before: string, text: string, encode: Encode): readonly number[] {
  return splitBehind(before, text, encode) ?? encode(text);
}

function splitBehind(before: string, text: string, encode: Encode): readonly number[] | null {
  const head = encode(before);
  const both = encode(before + text);
  return head.every((id, i) => id === both[i]) ? both.slice(head.length) : null;
}

/** The last place up to `most` where a text may be cut: behind a line, before a space, or between any two characters. */
function findCut(text: string, most: number, encode: Encode): number {
  const isSpace = (at: number): boolean => /\s/.test(text[at] ?? " ");
  const kinds: readonly ((at: number) => boolean)[] = [
    (at) => text[at - 1] === "\n" && !isSpace(at) && !isSpace(at - 2),
    (at) => text[at] === " " && !isSpace(at - 1) && !isSpace(at + 1),
    (at) => !isInside(text, at),
  ];
  for (const isCut of kinds) {
    let tries = 0;
    for (let at = most; at > most / 2 && tries < MOST_TRIES; at--) {
      if (!isCut(at)) continue;
      tries++;
      if (splitBehind(endOf(text.slice(0, at)), text.slice(at, at + AROUND), encode) !== null) return at;
    }
  }
  return isInside(text, most) ? most - 1 : most;
}

/** Whether a place is between the two halves of a character. */
export const isInside = (text: string, at: number): boolean =>
  /[\uD800-\uDBFF]/.test(text[at - 1] ?? "") && /[\uDC00-\uDFFF]/.test(text[at] ?? "");

function endOf(text: string): string {
  const at = Math.max(0, text.length - AROUND);
  return text.slice(isInside(text, at) ? at + 1 : at);
}
