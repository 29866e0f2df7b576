/**
 * Which adapters there are. Dawn for Node has no call that lists them and takes the first that its driver loader names,
 * software included; but asked for an adapter that does not exist it lists all names in its error, and each can then be
 * asked for by name.
 */
import { create } from "webgpu";
import { failure, type MoeError } from "../../grammar/diagnostic.ts";
import { exists, readTextIfAny } from "../files/read.ts";
import { type AdapterFacts, guessKind } from "../gpu/adapter.ts";
import { settle } from "./wait.ts";

/** An adapter that a device can be asked of, once. */
export interface OpenAdapter {
  readonly adapter: GPUAdapter;
  readonly facts: AdapterFacts;
}

/** All adapters, best first: discrete, integrated, software. Empty when there is none. */
export async function listAdapters(): Promise<readonly AdapterFacts[]> {
  return (await enumerate([])).map((found) => found.facts);
}

/**
 * The best adapter, or the best of those whose name contains `name` (any case); `options` go to Dawn as they are.
 * Throws `device/none` without any adapter, `device/unknown-adapter` without a match.
 */
export async function findAdapter(name: string | null, options: readonly string[]): Promise<OpenAdapter> {
  const found = await enumerate(options);
  const [best] = found;
  if (best === undefined) throw noAdapter();
  if (name === null) return best;
  const match = found.find((a) => a.facts.name.toLowerCase().includes(name.toLowerCase()));
  if (match !== undefined) return match;
  const names = found.map((a) => `\`${a.facts.name}\``).join(", ");
  throw failure("device/unknown-adapter", `no adapter is named \`${name}\``, { help: `take one of ${names}` });
}

/** Dawn's null backend: accepts and validates everything and computes nothing. For tests of what needs no numbers. */
export async function openNullAdapter(options: readonly string[]): Promise<OpenAdapter> {
  const opened = await request(["backend=null", ...options], "null", "null");
  if (opened === null) throw noAdapter();
  return opened;
}

const RANK = { discrete: 0, integrated: 1, software: 2 } satisfies Record<AdapterFacts["kind"], number>;

async function enumerate(options: readonly string[]): Promise<OpenAdapter[]> {
  const opened = await Promise.all(
    (await listNames()).map(({ backend, name }) =>
      request([`backend=${backend}`, `adapter=${name}`, ...options], name, backend),
    ),
  );
  // The sort is stable: among equals the driver loader's order stays.
  return opened.filter((a) => a !== null).sort((a, b) => RANK[a.facts.kind] - RANK[b.facts.kind]);
}

let names: readonly { readonly backend: string; readonly name: string }[] | null = null;

/** Asked once per process: a driver installed later is only seen by a new one anyway. */
async function listNames(): Promise<NonNullable<typeof names>> {
  if (names !== null) return names;
  let list = "";
  try {
    await settle(create(["adapter=\u0000none"]).requestAdapter());
  } catch (error) {
    list = error instanceof Error ? error.message : "";
  }
  const lines = [...list.matchAll(/backend: '([^']*)', name: '(.*)'$/gm)];
  return (names = lines.map(([, backend = "", name = ""]) => ({ backend, name })));
}

/**
 * Instances live as long as the process, one per set of options: Dawn for Node can crash in the finalizer of an instance
 * when the process ends soon after, and does not mind those that are never released.
 */
const instances = new Map<string, GPU>();

async function request(options: readonly string[], name: string, backend: string): Promise<OpenAdapter | null> {
  const key = options.join(" ");
  const instance = instances.get(key) ?? create([...options]);
  instances.set(key, instance);
  const adapter = await settle(instance.requestAdapter());
  if (adapter === null) return null;
  const { vendor, description } = adapter.info;
  return { adapter, facts: { name, backend, vendor, driver: description, kind: guessKind(adapter.info, name) } };
}

/** What to do depends on the system; every line is a command or a setting that can be followed as it stands. */
function noAdapter(): MoeError {
  const message = "no WebGPU adapter was found";
  if (process.platform !== "linux") {
    return failure("device/none", message, { help: "update the graphics driver, then start again" });
  }
  const notes = exists("/dev/nvidiactl")
    ? [
        "an NVIDIA GPU is here, but not its Vulkan driver: in a container, set NVIDIA_DRIVER_CAPABILITIES=compute,utility,graphics",
        "NVIDIA's driver offers nothing without libEGL, libGL, libX11 and libXext: on Debian and Ubuntu, `sudo apt-get install -y libegl1 libgl1 libxext6`",
      ]
    : [];
  const release = readTextIfAny("/etc/os-release") ?? "";
  const install = /^ID(_LIKE)?=.*(debian|ubuntu)/m.test(release)
    ? "`sudo apt-get install -y --no-install-recommends mesa-vulkan-drivers libvulkan1`"
    : "Mesa's Vulkan drivers, version 24 or newer, from the system's packages (Fedora: mesa-vulkan-drivers, Arch: vulkan-swrast)";
  return failure("device/none", message, {
    help: `run \`npm run setup\`, or install ${install}`,
    notes: [...notes, "Dawn needs Mesa 24 or newer; `npm run setup` takes it from the backports of Debian 12"],
  });
}
