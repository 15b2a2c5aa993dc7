// The machine in a worker, so that the page stays responsive.
import { V86 } from "./v86/libv86.mjs";
import { Machine, hardware } from "./machine.js";

let machine;
const moments = new Map(); // states that one can go back to, by number
let last = 0;
const saying = what => words => postMessage({ what, words });

const orders = {
  start({ memory, state }) {
    const v86 = new V86({
      ...hardware({ wasm: "v86/v86.wasm", files: "files/", memory }),
      initial_state: { url: state },
    });
    v86.add_listener("download-progress", saying("download"));
    v86.add_listener("download-error", saying("failed"));
    v86.add_listener("emulator-started", saying("started"));
    machine = new Machine(v86, (channel, payload) => postMessage({ channel, payload }, [payload.buffer]), saying("told"));
  },
  send: ({ channel, payload }) => machine.send(channel, payload),
  order: ({ words }) => machine.order(words),
  // Keep this moment and the moment `but`, no other one; return its number, 0 if a message is under way.
  async keep({ but: other }) {
    if (!machine.quiet) return 0;
    for (const number of moments.keys()) if (number !== other) moments.delete(number);
    moments.set(++last, await machine.save());
    return last;
  },
  async restore({ moment }) {
    await machine.restore(moments.get(moment));
    return true;
  },
};

onmessage = async ({ data }) => {
  const answer = await orders[data.what](data);
  if (data.id) postMessage({ id: data.id, answer });
};
