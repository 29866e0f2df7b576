/** A number of an imported file, written so that it is no size. */
export const numberText = (value: number): string => (Number.isInteger(value) ? value.toFixed(1) : `${value}`);
