/** config.json read and written back: what moec does not change stays as other tools wrote it. */
import { expect, test } from "vitest";
import { formatConfig, parseConfig } from "../../../runtime/model/config-file.ts";

const writeBack = (text: string): string => {
  const { json, floats, written } = parseConfig("config.json", text);
  return formatConfig(json, floats, written).replace(/\s+/g, "");
};

test.each([
  ["two objects with equal values", '{"a":{"x":8.0},"b":{"x":8}}'],
  ["the same the other way round", '{"a":{"x":8},"b":{"x":8.0}}'],
  ["lists of equal objects", '{"a":[{"x":8},{"x":8.0},{"x":8}],"b":[8.0,8]}'],
  ["keys that look like a path", '{"a.x":8,"a":{"x":8.0},"":{"y":8.0},"y":8}'],
  ["exponents, a minus before zero, and integers beyond 2^53", '{"a":1e-05,"b":-0.0,"c":18446744073709551615,"d":1E3}'],
  ["values beyond what a number holds", '{"a":1e400,"b":null}'],
])("%s are written as they were read", (_, text) => {
  expect(writeBack(text)).toBe(text);
});

test("a value that changed is written anew", () => {
  const { floats, written } = parseConfig("config.json", '{"a":1e-05,"b":8.0,"c":2.50}');
  expect(formatConfig({ a: 0.5, b: 16, c: 3 }, floats, written)).toBe('{\n  "a": 0.5,\n  "b": 16.0,\n  "c": 3.0\n}\n');
});

test("what a map reads tells sizes from floats by their place", () => {
  const { floats } = parseConfig("config.json", '{"a":{"x":8.0,"y":[1,2.0]},"b":{"x":8}}');
  expect([...floats].sort()).toEqual(["a.x", "a.y.1"]);
});

test("reading takes work in proportion to the text, however alike its parts are", () => {
  // Each level holds the text of all below it: to compare those would take time with the square of the depth.
  const depth = 400;
  const text = `${'{"a":'.repeat(depth)}8.0${"}".repeat(depth)}`;
  let calls = 0;
  const { stringify } = JSON;
  JSON.stringify = ((...args: Parameters<typeof stringify>) => (calls++, stringify(...args))) as typeof stringify;
  try {
    expect([...parseConfig("config.json", text).floats]).toEqual([Array(depth).fill("a").join(".")]);
  } finally {
    JSON.stringify = stringify;
  }
  expect(calls).toBe(0);
});
