/**
 * `JSON.parse` keeps the last of two equal keys and says nothing. In a checkpoint that would silently drop a tensor,
 * so the text is walked once more for keys alone.
 */

/** The first key that one object has twice, or null. `json` must be valid JSON already. */
export function findDuplicateKey(json: string): string | null {
  const open: Set<string>[] = []; // the keys so far of each object around this place
  for (let i = 0; i < json.length; i++) {
    const char = json[i];
    if (char === "{") open.push(new Set());
    else if (char === "}") open.pop();
    else if (char === '"') {
      const start = i++;
      while (json[i] !== '"') i += json[i] === "\\" ? 2 : 1;
      if (!isFollowedByColon(json, i + 1)) continue;
      // Escapes are resolved first: "a" and "\u0061" are one key.
      const key = JSON.parse(json.slice(start, i + 1)) as string;
      const keys = open[open.length - 1]!;
      if (keys.has(key)) return key;
      keys.add(key);
    }
  }
  return null;
}

function isFollowedByColon(json: string, from: number): boolean {
  let i = from;
  while (json[i] === " " || json[i] === "\n" || json[i] === "\r" || json[i] === "\t") i++;
  return json[i] === ":";
}
