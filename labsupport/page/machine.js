// The machine: v86, and the frames that go over its virtio console. Runs in a worker and in Node.
// A frame is the length of its payload (4 bytes, big endian), a channel (2 bytes) and the payload.

const CHUNK = 2048; // bytes at most for one of the guest's buffers, which hold 4096
const AHEAD = 8; // buffers that the guest may not have read yet, of the 16 that it posts: v86 drops what has none
const HEADER = 6;
const encoder = new TextEncoder();
const decoder = new TextDecoder();

export class Machine {
  // `v86` has been started; `heard(channel, payload)` takes what kernels say, `told(words)` the rest.
  constructor(v86, heard, told) {
    this.v86 = v86;
    this.heard = heard;
    this.told = told;
    this.reset();
    this.loaded = new Promise(done => v86.add_listener("emulator-loaded", done));
    v86.add_listener("emulator-ready", () => {
      this.files = new Files(v86.v86.cpu.devices.virtio_9p);
      takeLittle(v86.v86.cpu);
    });
    v86.add_listener("virtio-console0-output-bytes", bytes => this.take(bytes));
  }

  reset() {
    this.out = []; // pieces of at most CHUNK bytes that wait for room
    this.unread = []; // the lengths of those that the guest has not read
    this.rest = new Uint8Array(0);
  }

  send(channel, payload) {
    const frame = new Uint8Array(HEADER + payload.length);
    const view = new DataView(frame.buffer);
    view.setUint32(0, payload.length);
    view.setUint16(4, channel);
    frame.set(payload, HEADER);
    for (let at = 0; at < frame.length; at += CHUNK) this.out.push(frame.subarray(at, at + CHUNK));
    this.flush();
  }

  order(words) {
    this.send(0, encoder.encode(JSON.stringify(words)));
  }

  // A restored machine believes that it is the time at which it was saved.
  setClock() {
    this.order({ order: "clock", at: Date.now() / 1000 });
  }

  flush() {
    while (this.out.length && this.unread.length < AHEAD) {
      const piece = this.out.shift();
      this.unread.push(piece.length);
      this.v86.bus.send("virtio-console0-input-bytes", piece);
    }
  }

  hasRead(bytes) {
    while (this.unread.length && bytes >= this.unread[0]) bytes -= this.unread.shift();
    if (this.unread.length) this.unread[0] -= bytes;
    this.flush();
  }

  take(bytes) {
    let all = bytes;
    if (this.rest.length) {
      all = new Uint8Array(this.rest.length + bytes.length);
      all.set(this.rest);
      all.set(bytes, this.rest.length);
    }
    let at = 0;
    while (all.length - at >= HEADER) {
      const view = new DataView(all.buffer, all.byteOffset + at);
      const end = at + HEADER + view.getUint32(0);
      if (all.length < end) break;
      this.deliver(view.getUint16(4), all.slice(at + HEADER, end));
      at = end;
    }
    this.rest = all.slice(at);
  }

  deliver(channel, payload) {
    if (channel) return this.heard(channel, payload);
    const words = JSON.parse(decoder.decode(payload));
    if (words.read === undefined) return this.told(words);
    this.hasRead(words.read);
  }

  // True when nothing is under way on the line, as it must be in a saved state.
  get quiet() {
    return this.files && !this.unread.length && !this.out.length && !this.rest.length && !this.files.asked.size;
  }

  // Run on from the state that has been loaded, or from a later one, of which `more` has what differs.
  async begin(more) {
    await this.loaded;
    if (more) await this.restore(more, differ);
    this.v86.run();
    this.setClock();
  }

  async save() {
    return this.v86.save_state();
  }

  // Keep this moment: what v86 saves, and the memory in blocks, which are those of another moment where they are alike.
  async keep(other) {
    const { cpu } = this.v86.v86;
    const blocks = blocksOf(cpu, other?.blocks);
    const state = await withOwn(cpu, { pack_memory: () => NOTHING }, () => this.save());
    return { state, blocks };
  }

  async back({ state, blocks }) {
    await this.restore(state, cpu => putBlocks(cpu, blocks));
  }

  // `put(cpu, filled, pages)` puts the memory of a state in its place, page by page.
  async restore(state, put) {
    this.reset();
    this.files.forget();
    // v86 sets the processor's clock by how far it is from the machine's own, and takes for that what an earlier
    // restoring has added: the clock would go back by minutes, and nothing be scheduled for as long. So it is taken off.
    const { cpu } = this.v86.v86;
    cpu.store_current_tsc();
    cpu.set_tsc(...cpu.current_tsc);
    await withOwn(cpu, { unpack_memory: (filled, pages) => put(cpu, filled, pages) }, () => this.v86.restore_state(state));
  }
}

// v86 empties the guest's memory before it puts a state there, and so takes all of it from the browser, page by page.
// Most of it is empty: here only what is not is touched.
const PAGE = 4096;
function takeLittle(cpu) {
  cpu.unpack_memory = (filled, pages) => {
    for (let page = 0, next = 0; page < cpu.mem8.length / PAGE; page++) {
      const at = page * PAGE;
      if (filled.get(page)) cpu.mem8.set(pages.subarray(next, (next += PAGE)), at);
      else if (!cpu.is_memory_zeroed(at, PAGE)) cpu.zero_memory(at, PAGE);
    }
  };
}

// Change the guest's memory in what differs at another time: pages of which each bit that differs is 1.
function differ(cpu, filled, pages) {
  const memory = numbers(cpu.mem8), differences = numbers(pages);
  for (let page = 0, next = 0; page < cpu.mem8.length / PAGE; page++)
    if (filled.get(page))
      for (let at = (page * PAGE) / 4, end = at + PAGE / 4; at < end; at++) memory[at] ^= differences[next++];
}

export const numbers = ({ buffer, byteOffset, length }) => new Int32Array(buffer, byteOffset, length / 4);

// The guest's memory in blocks, null for an empty one. Two moments share the blocks in which they are alike.
const BLOCK = 4 * PAGE;
function blocksOf(cpu, others = []) {
  const blocks = [], memory = numbers(cpu.mem8);
  for (let at = 0; at < cpu.mem8.length; at += BLOCK) {
    const now = memory.subarray(at / 4, (at + BLOCK) / 4), other = others[at / BLOCK];
    if (cpu.is_memory_zeroed(at, BLOCK)) blocks.push(null);
    else blocks.push(other && alike(other, now) ? other : now.slice());
  }
  return blocks;
}

function putBlocks(cpu, blocks) {
  const memory = numbers(cpu.mem8);
  blocks.forEach((block, number) => {
    const at = number * BLOCK;
    if (block) memory.set(block, at / 4);
    else if (!cpu.is_memory_zeroed(at, BLOCK)) cpu.zero_memory(at, BLOCK);
  });
}

function alike(one, other) {
  for (let at = 0; at < one.length; at++) if (one[at] !== other[at]) return false;
  return true;
}

// Let the processor do some things our way during `work`.
async function withOwn(cpu, own, work) {
  Object.assign(cpu, own);
  try {
    return await work();
  } finally {
    for (const name of Object.keys(own)) delete cpu[name];
  }
}

const NOTHING = { packed_memory: new Uint8Array(0), bitmap: { get_buffer: () => new ArrayBuffer(0) } };

// The guest's requests to its file system, which is 9P over virtio. When a program is killed that waits for a file, the
// guest sends a flush. v86 answers that at once, and the guest gives the memory for the first answer to others, while
// the file is still on its way, and would be written there. Here a flush is answered last, as flush(9P) demands.
const RFLUSH = 109;
class Files {
  constructor(device) {
    this.device = device;
    this.forget();
    const queue = device.virtqueue;
    const pop = queue.pop_request.bind(queue);
    queue.pop_request = () => {
      const chain = pop();
      this.asked.add(chain);
      return chain;
    };
    device.SendReply = chain => this.take(chain, device.replybuffer.slice(0, device.replybuffersize));
  }

  // The machine goes back to an earlier moment, at which nothing was asked.
  forget() {
    this.asked = new Set();
    this.flushes = [];
  }

  take(chain, reply) {
    if (!this.asked.delete(chain)) return;
    for (const flush of this.flushes) flush.before.delete(chain);
    if (reply[4] === RFLUSH) this.flushes.push({ chain, reply, before: new Set(this.asked) });
    else this.answer(chain, reply);
    for (const flush of this.flushes.filter(each => !each.before.size)) this.answer(flush.chain, flush.reply);
    this.flushes = this.flushes.filter(each => each.before.size);
  }

  answer(chain, reply) {
    chain.set_next_blob(reply);
    this.device.virtqueue.push_reply(chain);
    this.device.virtqueue.flush_replies();
  }
}

// What the guest is made of; `files` is a folder's address, `memory` in MiB. What has a saved state is to `begin` in it.
export function hardware({ wasm, files, memory }) {
  return {
    wasm_path: wasm,
    memory_size: memory << 20,
    vga_memory_size: 1 << 20,
    virtio_console: true,
    disable_keyboard: true,
    disable_mouse: true,
    disable_speaker: true,
    filesystem: { baseurl: files },
  };
}

// A Jupyter message as bytes: the length of its JSON, the JSON, and its buffers after it.
export function pack(message) {
  const buffers = (message.buffers || []).map(b => new Uint8Array(b.buffer || b, b.byteOffset || 0, b.byteLength));
  const text = encoder.encode(JSON.stringify({ ...message, buffers: buffers.map(b => b.length) }));
  const payload = new Uint8Array(buffers.reduce((size, b) => size + b.length, 4 + text.length));
  new DataView(payload.buffer).setUint32(0, text.length);
  payload.set(text, 4);
  let at = 4 + text.length;
  for (const each of buffers) {
    payload.set(each, at);
    at += each.length;
  }
  return payload;
}

export function unpack(payload) {
  let at = 4 + new DataView(payload.buffer, payload.byteOffset).getUint32(0);
  const message = JSON.parse(decoder.decode(payload.subarray(4, at)));
  message.buffers = message.buffers.map(size => payload.slice(at, (at += size)).buffer);
  return message;
}
