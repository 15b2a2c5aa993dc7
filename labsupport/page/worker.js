// The machine in a worker, so that the page stays responsive.
import { V86 } from "./v86/libv86.mjs";
import { Machine, hardware } from "./machine.js";

let machine;
const moments = new Map(); // what one can go back to, by number
let last = 0;
const say = (what, words) => postMessage({ what, words });
const KEPT = "lab-page-machine";

// v86 asks for a file until it comes, silently; the reader should know why cells wait.
const send = XMLHttpRequest.prototype.send;
XMLHttpRequest.prototype.send = function (body) {
  this.addEventListener("loadend", () => say(this.status >= 200 && this.status < 300 ? "found" : "lost"));
  send.call(this, body);
};

// A saved state's bytes: from this browser's storage, else from the server, and then kept.
async function fetched(name, { url, size }) {
  const cache = await globalThis.caches?.open(KEPT).catch(() => null); // a private window may have none
  const kept = await cache?.match(url);
  if (kept) return kept.arrayBuffer();
  const answer = await fetch(url, { cache: "no-store" });
  if (!answer.ok) throw new Error(`it could not be fetched (status ${answer.status})`);
  const all = new Uint8Array(size);
  const reader = answer.body.getReader();
  let loaded = 0;
  for (let { done, value } = await reader.read(); !done; { done, value } = await reader.read()) {
    all.set(value, loaded);
    loaded += value.length;
    say("download", { name, loaded, total: size });
  }
  if (loaded !== size) throw new Error(`the download ended after ${loaded} of ${size} bytes`);
  cache?.put(url, new Response(all)).catch(() => say("full")); // meanwhile the machine starts
  return all.buffer;
}

// Give back the room of an earlier page's states.
async function forget(but) {
  const cache = await globalThis.caches?.open(KEPT).catch(() => null);
  const ours = but.map(each => new URL(each.url, location).href);
  for (const old of await cache?.keys() ?? []) if (!ours.includes(old.url)) await cache.delete(old);
}

const orders = {
  async start({ memory, state, engine, withEngine }) {
    await forget([state, engine]);
    const buffer = await fetched("The machine", state);
    const more = withEngine && await fetched("Docker", engine).catch(({ message }) => say("later", message));
    const v86 = new V86({ ...hardware({ wasm: "v86/v86.wasm", files: "files/", memory }), initial_state: { buffer } });
    machine = new Machine(v86, (channel, payload) => postMessage({ channel, payload }, [payload.buffer]), words => say("told", words));
    await machine.begin(more);
    structuredClone(buffer, { transfer: [buffer] }); // v86 would keep it
    say("started");
  },
  ping: () => true,
  send: ({ channel, payload }) => machine.send(channel, payload),
  order: ({ words }) => machine.order(words),
  // Keep this moment and the moment `but`, no other one; return its number, 0 if a message is under way.
  async keep({ but: other }) {
    if (!machine?.quiet) return 0;
    for (const number of moments.keys()) if (number !== other) moments.delete(number);
    moments.set(++last, await machine.keep(moments.get(other)));
    return last;
  },
  async restore({ moment }) {
    await machine.back(moments.get(moment));
    machine.setClock();
    return true;
  },
};

const NO_MEMORY = "this tab has too little memory (close other tabs; what stands below the cells can be read without it)";
const failed = error => say("failed", error instanceof RangeError ? NO_MEMORY : error.message);
addEventListener("unhandledrejection", ({ reason }) => failed(reason));

onmessage = async ({ data }) => {
  const answer = await orders[data.what](data);
  if (data.id) postMessage({ id: data.id, answer });
};
