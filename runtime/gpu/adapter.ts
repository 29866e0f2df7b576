/** What is known of an adapter, whoever found it. Whether a GPU is discrete is not told by WebGPU: that is guessed from vendor and name, for an order of preference only. */

export interface AdapterFacts {
  /** As the driver names it, e.g. `NVIDIA H100 PCIe`. */
  readonly name: string;
  readonly backend: string;
  readonly vendor: string;
  readonly driver: string;
  /** `software` runs on the CPU. */
  readonly kind: "discrete" | "integrated" | "software";
}

export function guessKind({ isFallbackAdapter, vendor }: GPUAdapterInfo, name: string): AdapterFacts["kind"] {
  if (isFallbackAdapter || /llvmpipe|lavapipe|swiftshader|null/i.test(name)) return "software";
  const onChip = vendor === "intel" ? !/\bArc\b/.test(name) : /radeon(\(tm\))? graphics|apple/i.test(name);
  return onChip ? "integrated" : "discrete";
}
