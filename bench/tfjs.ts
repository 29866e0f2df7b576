/**
 * tfjs's training step with its WebGPU backend, on the same Dawn and adapter. The backend belongs into a browser: the few things of one
 * that it asks for when it is loaded are put there, empty. Only ops are used that run on the GPU without a read in between.
 */
import { create, globals } from "webgpu";
import { type Engine, measurement, timeCalls } from "./engine.ts";
import type { Backend, Library, Tensor } from "./tfjs-types.ts";
import { makeBatch, trainShape as shape } from "./train-shape.ts";

export const engines: readonly Engine[] = [makeEngine()];

function makeEngine(): Engine {
  let step: () => Promise<unknown>;
  let forward: () => Promise<unknown>;
  const count = shape.sequences * shape.tokens;
  return {
    name: "tfjs webgpu",
    runsOn: "gpu",
    tasks: ["train-forward", "train-step"],
    async prepare() {
      const tf = await openLibrary();
      const { loss, last } = makeModel(tf);
      const { rate, beta1, beta2 } = shape;
      const optimizer = tf.train.adam(rate, beta1, beta2, 1e-8);
      const read = async (value: Tensor): Promise<void> => {
        await value.data();
        value.dispose();
      };
      forward = () => read(tf.tidy(loss));
      step = async () => {
        const value = tf.tidy(() => {
          const { value, grads } = tf.variableGrads(loss);
          optimizer.applyGradients(grads);
          return value;
        });
        await read(value);
        // The last parameter is there when all are.
        await last.data();
      };
      await step();
      await forward();
    },
    async measure(task) {
      if (task === "train-step") return measurement(task, count / (await timeCalls(1, step)));
      if (task === "train-forward") return measurement(task, count / (await timeCalls(1, forward)));
      throw new Error(`tfjs does not measure ${task}`);
    },
  };
}

/** Without a look at its types. */
const load = async <T>(name: string): Promise<T> => (await import(name)) as T;

async function openLibrary(): Promise<Library> {
  const nothing = { getContext: () => null };
  Object.assign(globalThis, globals, {
    document: { createElement: () => nothing, createElementNS: () => nothing },
    OffscreenCanvas: class {
      getContext(): null {
        return null;
      }
    },
  });
  const gpu = create([]);
  Object.defineProperty(globalThis, "navigator", { value: { gpu, userAgent: "node" }, configurable: true });
  const tf = await load<Library>("@tensorflow/tfjs");
  const { WebGPUBackend } = await load<Backend>("@tensorflow/tfjs-backend-webgpu");
  const adapter = await gpu.requestAdapter({ powerPreference: "high-performance" });
  if (adapter === null) throw new Error("no GPU adapter: run `npm run setup`");
  const wanted = [
    "maxStorageBufferBindingSize",
    "maxBufferSize",
    "maxComputeWorkgroupStorageSize",
    "maxComputeInvocationsPerWorkgroup",
    "maxComputeWorkgroupSizeX",
    "maxStorageBuffersPerShaderStage",
    "maxComputeWorkgroupsPerDimension",
  ] as const;
  const device = await adapter.requestDevice({
    requiredLimits: Object.fromEntries(wanted.map((name) => [name, adapter.limits[name]])),
  });
  tf.removeBackend("webgpu");
  tf.registerBackend("webgpu", () => new WebGPUBackend(device, adapter.info), 3);
  await tf.setBackend("webgpu");
  await tf.ready();
  // Small tensors are computed on the host otherwise.
  tf.env().set("WEBGPU_CPU_FORWARD", false);
  return tf;
}

function makeModel(tf: Library): { readonly loss: () => Tensor; readonly last: Tensor } {
  const { sequences: B, tokens: T, V, D, L, H, G, C, F, eps, theta } = shape;
  const weight = (name: string, ...size: readonly number[]): Tensor =>
    tf.variable(tf.randomNormal(size, 0, 0.02), true, name);
  const scale = (name: string): Tensor => tf.variable(tf.ones([D]), true, name);
  const embed = weight("embed", V, D);
  const layers = Array.from({ length: L }, (_, l) => ({
    norm1: scale(`norm1.${l}`),
    q: weight(`q.${l}`, D, H * C),
    k: weight(`k.${l}`, D, G * C),
    v: weight(`v.${l}`, D, G * C),
    o: weight(`o.${l}`, H * C, D),
    norm2: scale(`norm2.${l}`),
    gate: weight(`gate.${l}`, D, F),
    up: weight(`up.${l}`, D, F),
    down: weight(`down.${l}`, F, D),
  }));
  const last = scale("norm");
  const head = weight("head", D, V);

  const half = Array.from({ length: C / 2 }, (_, i) => theta ** ((-2 * i) / C));
  const angles = Array.from({ length: T }, (_, t) => [...half, ...half].map((x) => t * x));
  const cos = tf.tensor(angles.map((row) => row.map(Math.cos)));
  const sin = tf.tensor(angles.map((row) => row.map(Math.sin)));
  const later = tf.tensor(Array.from({ length: T }, (_, i) => Array.from({ length: T }, (_, j) => (j > i ? -1e9 : 0))));
  const batch = makeBatch();
  const ids = tf.tensor(batch.ids, [B * T], "int32");
  const target = tf.tensor(batch.target, [B * T], "int32");

  const norm = (x: Tensor, w: Tensor): Tensor => x.mul(tf.rsqrt(x.square().mean(-1, true).add(eps))).mul(w);
  const heads = (x: Tensor, n: number): Tensor => x.reshape([B, T, n, C]).transpose([0, 2, 1, 3]);
  const rotate = (x: Tensor): Tensor => {
    const low = x.slice([0, 0, 0, 0], [-1, -1, -1, C / 2]);
    const high = x.slice([0, 0, 0, C / 2], [-1, -1, -1, C / 2]);
    return x.mul(cos).add(tf.concat([high.neg(), low], -1).mul(sin));
  };
  const forAllHeads = (x: Tensor): Tensor => {
    const one = x.reshape([B, G, 1, T, C]);
    return tf
      .concat(
        Array.from({ length: H / G }, () => one),
        2,
      )
      .reshape([B, H, T, C]);
  };
  const loss = (): Tensor => {
    let x = tf.gather(embed, ids);
    for (const w of layers) {
      const y = norm(x, w.norm1);
      const q = rotate(heads(y.matMul(w.q), H));
      const k = forAllHeads(rotate(heads(y.matMul(w.k), G)));
      const v = forAllHeads(heads(y.matMul(w.v), G));
      const seen = tf.softmax(
        q
          .matMul(k, false, true)
          .mul(C ** -0.5)
          .add(later),
      );
      x = x.add(
        seen
          .matMul(v)
          .transpose([0, 2, 1, 3])
          .reshape([B * T, H * C])
          .matMul(w.o),
      );
      const z = norm(x, w.norm2);
      const gate = z.matMul(w.gate);
      x = x.add(gate.mul(tf.sigmoid(gate)).mul(z.matMul(w.up)).matMul(w.down));
    }
    const logits = norm(x, last).matMul(head);
    return tf
      .logSumExp(logits, -1)
      .sub(logits.mul(tf.oneHot(target, V)).sum(-1))
      .mean();
  };
  return { loss, last };
}
