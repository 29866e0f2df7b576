/** Values of options, checked while the command line is read. */
import { InvalidArgumentError } from "commander";

/** For options that count something. */
export function parseCount(text: string): number {
  const value = Number(text);
  if (!/^\d+$/.test(text) || value < 1) throw new InvalidArgumentError("It must be a whole number from 1.");
  return value;
}

/** A whole number from 0. */
export function parseIndex(text: string): number {
  if (!/^\d+$/.test(text)) throw new InvalidArgumentError("It must be a whole number from 0.");
  return Number(text);
}

/** A number from 0, up to `most` where that is given. */
export function parseNumber(most = Infinity): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (text.trim() === "" || !(value >= 0 && value <= most))
      throw new InvalidArgumentError(`It must be a number from 0${most === Infinity ? "" : ` to ${most}`}.`);
    return value;
  };
}

/** Bytes, such as 5GB (powers of 1000) or 4GiB (of 1024). */
export function parseSize(text: string): number {
  const match = /^(\d+(?:\.\d+)?)\s*([KMGT]?)(i?)B?$/i.exec(text);
  const bytes =
    match === null
      ? 0
      : Number(match[1]) * (match[3] === "" ? 1000 : 1024) ** " KMGT".indexOf(match[2]!.toUpperCase() || " ");
  if (!(bytes >= 1)) throw new InvalidArgumentError("It must be a size such as 5GB, 500MB or 4GiB.");
  return Math.floor(bytes);
}

/** Positions of a sequence, where nothing else is said. */
export const TYPICAL_CONTEXT = 1024;
