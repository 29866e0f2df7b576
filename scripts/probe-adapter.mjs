/**
 * Asks Dawn for an adapter and prints `{ description, isSoftware }` as JSON, or `null` when there is none. A process of its
 * own, because a driver installed a moment ago is only seen by a process that starts afterwards.
 */
import { create } from "webgpu";

const adapter = await create([]).requestAdapter();
const info = adapter?.info;
console.log(
  JSON.stringify(info ? { description: info.description || info.device, isSoftware: info.isFallbackAdapter } : null),
);
