// Runs the page's machine in Node.
//   node run.mjs make FOLDER MEMORY          boot it from FOLDER/{bzImage,fs.json,files/}, write FOLDER/state.bin,
//                                            and FOLDER/engine.bin: what differs when Docker runs
//   node run.mjs notebook FOLDER MEMORY NB [engine]   run a notebook's cells in the saved state, or in that with
//                                            Docker; one JSON line a cell (./lab page --run NB makes a table of them)
import fs from "node:fs";
import { pathToFileURL } from "node:url";
import { randomUUID } from "node:crypto";

const [what, folder, memory, ...rest] = process.argv.slice(2);
const at = name => `${folder}/${name}`;
const { V86 } = await import(pathToFileURL(at("v86/libv86.mjs")));
const { Machine, hardware, numbers, pack, unpack } = await import("./machine.js");
const base = hardware({ wasm: at("v86/v86.wasm"), files: at("files/"), memory: +memory });
const pause = seconds => new Promise(done => setTimeout(done, 1000 * seconds));
const started = performance.now();
const seconds = () => (performance.now() - started) / 1000;
const say = words => console.log(JSON.stringify(words));

const SKIPPED = "application/vnd.labsupport.skipped+json";
const LIMIT = 600; // seconds for a cell, and for Python to be warm, on a busy machine
// With init_on_free, what is free is empty, and takes no room in a saved state.
const CMDLINE = "console=ttyS0 root=host9p rootfstype=9p rootflags=trans=virtio,version=9p2000.L,cache=loose rw " +
  "init=/sbin/lab-init init_on_free=1 tsc=reliable panic=-1 loglevel=4 cgroup_no_v1=all random.trust_cpu=on";

async function make() {
  const v86 = new V86({
    ...base, cmdline: CMDLINE, autostart: true,
    bios: { url: at("bios.bin") }, vga_bios: { url: at("vgabios.bin") }, bzimage: { url: at("bzImage") },
    filesystem: { ...base.filesystem, basefs: at("fs.json") },
  });
  let line = "";
  v86.add_listener("serial0-output-byte", byte => {
    if (byte !== 10) return (line += String.fromCharCode(byte));
    console.error(seconds().toFixed(1), line);
    if (line.includes("the agent has ended")) process.exit(1);
    line = "";
  });
  setTimeout(() => (console.error("the states are not there after two hours"), process.exit(1)), 12 * LIMIT * 1000);
  let told;
  const machine = new Machine(v86, () => {}, words => told(words));
  const save = async name => fs.writeFileSync(at(name), Buffer.from(await machine.save()));
  await new Promise(done => (told = words => words.up && done()));
  await pause(3); // the guest writes back what it still has
  await save("state.bin");
  const ram = () => numbers(v86.v86.cpu.mem8);
  const before = ram().slice();
  machine.order({ order: "engine" });
  const { status } = await new Promise(done => (told = words => words.engine && done(words)));
  if (status) return console.error(`no engine: status ${status}`), process.exit(1);
  do await pause(3); while (!machine.quiet);
  ram().forEach((word, at, all) => (all[at] = word ^ before[at])); // `begin` does it once more, and has it whole
  await save("engine.bin");
  process.exit(0);
}

async function notebook(file, engine) {
  const cells = JSON.parse(fs.readFileSync(file)).cells.filter(cell => cell.cell_type === "code");
  const read = name => new Uint8Array(fs.readFileSync(at(name))).buffer;
  const v86 = new V86({ ...base, initial_state: { buffer: read("state.bin.zst") } });
  let on = () => {};
  const machine = new Machine(v86, (_, payload) => on(unpack(payload)), words => words.ended && on(words));
  await machine.begin(engine && read("engine.bin.zst"));
  machine.order({ order: "start", channel: 1 });
  for (const cell of cells) {
    const began = performance.now();
    const outcome = await Promise.race([execute(machine, cell, f => (on = f)), hung(cell)]);
    say({ id: cell.id, seconds: (performance.now() - began) / 1000, ...outcome });
    if (outcome.lost) break;
  }
  process.exit(0);
}

async function hung(cell) {
  await pause(LIMIT);
  return { is: "failed", error: `no end after ${LIMIT} s; the rest was not run`, lost: true };
}

function execute(machine, cell, hear) {
  const id = randomUUID();
  const outcome = { is: "passed", text: "" };
  const expected = cell.metadata.tags?.includes("raises-exception");
  machine.send(1, pack({
    header: { msg_id: id, msg_type: "execute_request", session: "node", username: "", version: "5.3", date: new Date().toISOString() },
    parent_header: {}, metadata: { cellId: cell.id }, channel: "shell",
    content: { code: [cell.source].flat().join(""), silent: false, store_history: true, user_expressions: {}, allow_stdin: false, stop_on_error: false },
  }));
  return new Promise(done => hear(message => {
    if (message.ended) return done({ is: "failed", error: `Python ended with status ${message.status}`, lost: true });
    if (message.parent_header.msg_id !== id) return;
    const { msg_type } = message.header, { content } = message;
    if (msg_type === "stream") outcome.text += content.text;
    if (msg_type === "execute_result" || msg_type === "display_data") outcome.text += content.data["text/plain"] || "";
    if (content.data?.[SKIPPED]) outcome.is = "skipped";
    if (msg_type === "error" && !expected) Object.assign(outcome, { is: "failed", error: `${content.ename}: ${content.evalue}` });
    if (msg_type === "status" && content.execution_state === "idle") done(outcome);
  }));
}

await { make, notebook }[what](...rest);
