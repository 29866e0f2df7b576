import { openTestGpu, bindingKey } from "../tests/support/gpu.ts";
import { makeContractCase } from "../tests/support/contract-case.ts";
import { chooseContract } from "../compiler/kernel/select.ts";
const gpu = await openTestGpu();
console.log(gpu.facts);
async function bench(name: string, shape: any, regime: any, force: any, flops: number, bytes: number, n = 9) {
  const c = makeContractCase(name, { ...shape, unchecked: true });
  const kernel = chooseContract(c.spec, regime, gpu.facts, force);
  const bufs = new Map([...c.data].map(([k, v]) => [k, gpu.upload(v)]));
  for (const o of c.outputs) bufs.set(bindingKey(o.binding), gpu.upload(new Float32Array(o.length)));
  const p = await gpu.prepare(kernel, bufs, { T: shape.tokens });
  const t0 = performance.now();
  await gpu.submit([p]);
  const first = performance.now() - t0;
  const ts: number[] = [];
  for (let i = 0; i < n; i++) {
    const t = performance.now();
    await gpu.submit([p], 4);
    ts.push((performance.now() - t) / 4);
  }
  ts.sort((a, b) => a - b);
  console.log(
    name,
    force ?? "",
    `first ${first.toFixed(0)} ms, best ${ts[0].toFixed(2)} median ${ts[n >> 1].toFixed(2)} ms: ${(flops / ts[0] / 1e6).toFixed(1)} GF/s ${(bytes / ts[0] / 1e6).toFixed(1)} GB/s`,
  );
}

const f = undefined;
const one = (cols: number, storage = "f32") => ({ cols, matrices: 1, storage });
const which = process.argv[2];
if (which === "jit") {
  await bench("few1", { tokens: 1, k: 512, groups: [one(512)] }, "few", f, 2 * 512 * 512, 512 * 512 * 4);
  await bench(
    "few3",
    { tokens: 1, k: 512, groups: [one(512), one(128), one(128)] },
    "few",
    f,
    2 * 512 * 768,
    512 * 768 * 4,
  );
  await bench(
    "few1x2",
    { tokens: 1, k: 512, groups: [{ cols: 1024, matrices: 2, storage: "f32" }] },
    "few",
    f,
    2 * 512 * 2048,
    512 * 2048 * 4,
  );
  await bench(
    "few3bf",
    { tokens: 1, k: 512, groups: [one(512, "bf16"), one(128, "bf16"), one(128, "bf16")] },
    "few",
    f,
    2 * 512 * 768,
    512 * 768 * 2,
  );
  await bench(
    "many3",
    { tokens: 128, k: 512, groups: [one(512), one(128), one(128)] },
    "many",
    f,
    128 * 2 * 512 * 768,
    512 * 768 * 4,
  );
}
gpu.close();
process.exit(0);
